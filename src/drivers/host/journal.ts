import type { FeedEvent, SharedError } from '../../base/contract.js'

/** What a process tells the others: kind, path (of a key, a tag's mark or a scope), term, and what goes with it. */
export type Told = readonly [kind: Kind, path: string, term: string, more?: string | number | SharedError]

type Kind = Exclude<FeedEvent['kind'], 'gap'>

/** One commit of one process. */
export interface Page {
  /** Epoch ms. */
  at: number
  told: readonly Told[]
}

const DIGITS = 12

/** Pages of a process lie side by side, in the order in which it wrote them. */
export function pageKey(process: string, n: number): Buffer {
  return Buffer.from(`${process}${String(n).padStart(DIGITS, '0')}`)
}

export function pageNumber(key: Buffer): number {
  return Number(key.toString('latin1', key.length - DIGITS))
}

export function encodePage({ at, told }: Page): string {
  return JSON.stringify([at, told])
}

export function decodePage(text: string): Page {
  const [at, told] = JSON.parse(text)
  return { at, told }
}

/** Without reading on. */
export function timeOfPage(text: string): number {
  return Number(text.slice(1, text.indexOf(',')))
}

/** As the feed hands it out. */
export function eventOf([kind, , term, more]: Told, key: string, own: boolean): FeedEvent {
  const event: FeedEvent = { kind, key, term, own }
  if (kind === 'value' && typeof more === 'string') event.text = more
  if (kind === 'tagged' && typeof more === 'number') event.time = more
  if (kind === 'failed' && typeof more === 'object') event.error = more
  return event
}
