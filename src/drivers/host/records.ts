import type { Ending } from '../../base/contract.js'

/** What is known of one key's term. */
export type Slot =
  | {
      kind: 'running'
      term: string
      /** The holder; `''`: nobody, the next who asks. */
      attempt: string
      owner: string
      /** Epoch ms until which others wait for the holder. */
      heldUntil: number
      fails: 0 | 1
      /** Some other process waits. */
      isWanted: boolean
      /** Epoch ms after which none of this counts. */
      deadAt: number
    }
  | {
      kind: 'ended'
      term: string
      ending: Exclude<Ending, { kind: 'abandoned' }>
      /** Epoch ms until which a failure is respected; 0 = not. */
      until: number
      deadAt: number
    }

export interface Stored {
  text: string
  /** Epoch ms; Infinity = for ever. */
  until: number
  /** Marks of tags are never evicted: without them the entries they hit would be served again. */
  isMark: boolean
}

/** Texts are kept behind a letter (`v`alue or `m`ark) and 13 digits of when they end. */
const HEAD = 14
const NEVER = 9_999_999_999_999

export function encodeStored({ text, until, isMark }: Stored): string {
  return `${isMark ? 'm' : 'v'}${String(Math.min(Math.ceil(until), NEVER)).padStart(13, '0')}${text}`
}

export function decodeStored(record: string): Stored {
  const until = Number(record.slice(1, HEAD))
  return { text: record.slice(HEAD), until: until === NEVER ? Infinity : until, isMark: record.startsWith('m') }
}

/** The text alone, if it has not ended: what a read needs. */
export function textOf(record: string | undefined, now: number): string | undefined {
  if (record === undefined || Number(record.slice(1, HEAD)) <= now) return undefined
  return record.slice(HEAD)
}
