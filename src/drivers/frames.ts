import type { FeedEvent, SharedError } from '../base/contract.js'

const KINDS: Record<string, FeedEvent['kind']> = {
  S: 'stored',
  V: 'value',
  N: 'nothing',
  F: 'failed',
  A: 'again',
  D: 'deleted',
  E: 'expired',
  P: 'put',
  C: 'cleared',
  T: 'tagged',
}

/** What a frame says between its letter and its body. `|origin|term|key length|key|` */
export function head(origin: string, term: string, key: string): string {
  return `|${origin}|${term}|${key.length}|${key}|`
}

/** Undefined for what this version does not know: a later one may say more. */
export function parseFrame(frame: string, own: string): FeedEvent | undefined {
  const [, letter, origin, term, length] = /^([A-Z])\|([^|]*)\|([^|]*)\|(\d+)\|/.exec(frame) ?? []
  const kind = KINDS[letter ?? '']
  if (kind === undefined) return undefined
  // The length, because a key may contain anything, also bars.
  const from = 5 + origin!.length + term!.length + length!.length
  const to = from + Number(length)
  if (frame[to] !== '|') return undefined
  const event: FeedEvent = { kind, key: frame.slice(from, to), term: term!, own: origin === own }
  const body = frame.slice(to + 1)
  if (body === '') return event
  if (kind === 'stored' || kind === 'value') event.text = body
  if (kind === 'tagged') event.time = Number(body)
  if (kind === 'failed') event.error = parseError(body)
  return event
}

/** A failure as frames and records carry it. */
export function parseError(text: string): SharedError {
  try {
    const { name, message, code } = JSON.parse(text)
    return { name: String(name), message: String(message), ...(code !== undefined && { code: String(code) }) }
  } catch {
    return { name: 'Error', message: text }
  }
}
