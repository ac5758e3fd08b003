/** What keeps the host tier from answering. */
export class HostTrouble extends Error {
  /** true: nothing can be read or written for now; false: this one write is refused. */
  readonly isOutage: boolean

  constructor(message: string, isOutage: boolean, options?: ErrorOptions) {
    super(message, options)
    this.name = 'HostTrouble'
    this.isOutage = isOutage
  }
}

/** What went wrong, in a log line. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
