/** A command's name, in lower case, and its arguments. */
export type Command = readonly [name: string, ...args: (string | number | Uint8Array)[]]

/** What the driver asks of a Redis client, whatever library it is of. */
export interface RedisClient {
  /** The client as its own library knows it. */
  readonly raw: unknown
  /** What the library puts in front of keys. It does not do so for channels, patterns and replies. */
  readonly keyPrefix: string
  readonly db: number
  readonly isCluster: boolean
  /** false: a command sent now would only be queued. */
  readonly isReady: boolean
  call(command: Command): Promise<any>
  /**
   * In one write, all to one node. Resolves the replies in order, a refused command's as an Error;
   * rejects when the connection is lost before the last of them. In a Cluster: keys of one slot.
   */
  pipeline(commands: readonly Command[]): Promise<any[]>
  /** GET from the primary, also where this client reads from replicas. */
  get(key: string): Promise<string | null>
  primaries(): Promise<Primary[]>
  pubSub(): PubSubConnection
  /** Drops a connection that no longer answers, so that another is made. Only our own. */
  renew(): void
  /** Closes what is ours; takes our listeners off what is the user's. In 1 s at most. */
  close(): Promise<void>
}

/** One primary, for commands without a key. Names are whole: with keyPrefix. */
export interface Primary {
  scan(cursor: string, pattern: string): Promise<[next: string, names: string[]]>
  unlink(names: string[]): Promise<unknown>
}

/** A connection for pub/sub. It makes itself anew when it is lost, but does not subscribe again. */
export interface PubSubConnection {
  /** Called once. `ready` whenever the connection is there; `lost` when it is not any more. */
  open(on: { ready(): void; lost(): void; message(channel: string, message: Uint8Array): void }): void
  /** Resolves when the server has confirmed. */
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  /** Resolves when everything published before has been handed out. */
  ping(): Promise<unknown>
  renew(): void
  close(): Promise<void>
}

const OUTAGE_REPLIES = new Set(['LOADING', 'CLUSTERDOWN', 'MASTERDOWN', 'READONLY', 'TRYAGAIN'])

/** The server answered, but no. Undefined: it did not answer. */
export function refusalOf(error: unknown): string | undefined {
  return error instanceof Error ? /^([A-Z][A-Z0-9_]+)(?: |$)/.exec(error.message)?.[1] : undefined
}

/** Is Redis away? Everything that is not an answer says so, and some answers do. */
export function isOutage(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return false
  const refusal = refusalOf(error)
  return refusal === undefined || OUTAGE_REPLIES.has(refusal)
}

export function isNoPermission(error: unknown): boolean {
  return refusalOf(error) === 'NOPERM'
}
