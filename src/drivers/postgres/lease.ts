import { createHash } from 'node:crypto'
import type {
  AcquireOptions,
  Acquired,
  Ending,
  Feed,
  Lease,
  LeaseCapability,
  LeaseInfo,
  MakeStale,
  SettleOptions,
  Watch,
} from '../../base/contract.js'
import { staleEnvelope } from '../../base/entry.js'
import { E_INVALID_KEY } from '../../base/errors.js'
import { under } from '../../base/keys.js'
import { parseError } from '../frames.js'
import type { Sql } from './connection.js'
import type { PostgresFeed } from './feed.js'
import type { Schema } from './schema.js'

/** What our own envelopes end in (`base/entry.ts`). */
const TAIL = /"createdAt":\d{13},"logicalExpiration":\d{13}}$/
const TAIL_LENGTH = 60
/** How long an end that nobody stored is told to those who missed its notification. */
const REMEMBER = 2_000
/** When to ask again for a key that an uncommitted invalidation bars. */
const BARRED = 50
/** Keys in one statement: enough to be fast, few enough not to hold up everybody else. */
const CHUNK = 500
/** A deadlock, a row changed under `repeatable read`: ours are safe to run again. */
const AGAIN = new Set(['40P01', '40001'])
const LOCKED = '55P03'

const LETTERS = { value: 'V', nothing: 'N', failed: 'F', abandoned: 'A' } as const

/** Leases and whatever else changes values, on PostgreSQL. What each step guarantees: `schema.ts`. */
export class PostgresLease implements LeaseCapability {
  readonly #sql: Sql
  readonly #schema: () => Promise<Schema>
  readonly #prefix: string
  readonly #feed: PostgresFeed
  readonly #inlineBytes: number

  constructor(o: { sql: Sql; schema: () => Promise<Schema>; prefix: string; feed: PostgresFeed; inlineBytes: number }) {
    this.#sql = o.sql
    this.#schema = o.schema
    this.#prefix = o.prefix
    this.#feed = o.feed
    this.#inlineBytes = o.inlineBytes
  }

  get feed(): Feed {
    return this.#feed
  }

  get leaseInfo(): LeaseInfo {
    const isPush = !this.#feed.isDeaf
    return { scope: 'fleet', wakeup: isPush ? 'push' : 'poll', clock: 'server', feed: isPush }
  }

  fingerprint(text: string | undefined): string {
    if (text === undefined || text === '') return ''
    const tail = text.slice(-TAIL_LENGTH)
    return TAIL.test(tail) ? tail : createHash('sha256').update(text).digest('hex')
  }

  async acquire(key: string, o: AcquireOptions): Promise<Acquired> {
    const { attempt, seen } = o
    const flags = [o.force === true, o.ignoreFailure === true]
    const args = [this.#name(key), attempt, Math.ceil(o.ttlMs), seen, ...flags, Math.ceil(o.floor ?? 0), o.heldIn ?? '']
    let answer: [kind: string, ...rest: string[]]
    try {
      answer = await this.#step('acquire', args)
    } catch (error) {
      if (codeOf(error) !== LOCKED) throw error
      // Who invalidates it in a transaction has not committed: what a factory reads now would be old then.
      return { kind: 'held', term: 'barred', leftMs: BARRED, at: this.#feed.serverNow() }
    }
    const [kind, ...rest] = answer
    switch (kind) {
      case 'granted': {
        const [term, createdAt, fails, found] = rest
        const lease = { key, term: term!, attempt, seen: found! }
        return { kind: 'granted', lease, createdAt: Number(createdAt), fails: Number(fails) === 0 ? 0 : 1 }
      }
      case 'held':
        return { kind: 'held', term: rest[0]!, leftMs: Number(rest[1]), at: Number(rest[2]) }
      case 'ended':
        return { kind: 'ended', ending: endingOf(rest[0]!, rest[1]!) }
      case 'failed':
        return { kind: 'failed', leftMs: Number(rest[0]), error: parseError(rest[1]!) }
      default:
        return { kind: 'changed' }
    }
  }

  async fulfill(lease: Lease, text: string, o: { keepMs: number | null }): Promise<'stored' | 'refused' | 'foreign'> {
    const { key, term, seen } = lease
    const head = this.#feed.head(term, key)
    try {
      const told = [this.#feed.channel, head, this.#room(head)]
      return await this.#step('fulfill', [this.#name(key), term, text, wholeMs(o.keepMs), seen, ...told])
    } catch (error) {
      // An invalidation is about to be committed. To store nothing is right, whatever becomes of it.
      if (codeOf(error) === LOCKED) return 'refused'
      throw error
    }
  }

  async settle(lease: Lease, ending: Ending, o: SettleOptions): Promise<'again' | 'ended' | 'lost'> {
    const body = ending.kind === 'value' ? ending.text : ending.kind === 'failed' ? JSON.stringify(ending.error) : ''
    const { key, term, attempt } = lease
    const letter = LETTERS[ending.kind]
    const head = this.#feed.head(term, key)
    const room = this.#room(head)
    const args = [this.#name(key), term, attempt, letter, body, o.followers, Math.ceil(o.backoffMs), REMEMBER]
    try {
      return await this.#step('settle', [...args, this.#feed.channel, head, room])
    } catch (error) {
      if (codeOf(error) !== LOCKED) throw error
      const isShared = (letter === 'V' || letter === 'N') && Buffer.byteLength(body) <= room
      await this.#notify(isShared ? letter + head + body : `A${head}`)
      return 'lost'
    }
  }

  async renew(leases: readonly { lease: Lease; hold: boolean }[], ttlMs: number): Promise<boolean[]> {
    if (leases.length === 0) return []
    const column = <T>(of: (one: { lease: Lease; hold: boolean }) => T) => leases.map(of)
    const names = column(({ lease }) => this.#name(lease.key))
    const [terms, attempts] = [column(({ lease }) => lease.term), column(({ lease }) => lease.attempt)]
    return this.#step('renew', [names, terms, attempts, column(({ hold }) => hold), Math.ceil(ttlMs)])
  }

  invalidate(keys: readonly string[], how: 'delete' | 'expire', stale?: MakeStale): Promise<boolean[]> {
    return how === 'delete' ? this.#delete(keys) : this.expire(keys, undefined, stale)
  }

  /**
   * Deletes in a transaction of somebody else, once it commits. Until then nobody is granted any of
   * the keys, and whoever computes one already will not store it.
   */
  async invalidateIn(client: Sql, keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    const schema = await this.#schema()
    for (const chunk of inChunks([...new Set(keys)].toSorted())) {
      const frames = chunk.map((key) => `D${this.#feed.headOfNobody(key)}`)
      await call(client, schema, 'remove', [chunk.map((key) => this.#name(key)), true, this.#feed.channel, frames])
    }
  }

  /** Makes entries stale as of `staleAt` (epoch ms; default: just now by the server's clock). */
  async expire(keys: readonly string[], staleAt?: number, stale: MakeStale = staleEnvelope): Promise<boolean[]> {
    const existed: boolean[] = []
    for (const chunk of inChunks(keys)) {
      const frames = chunk.map((key) => `E${this.#feed.head('', key)}`)
      const at = staleAt === undefined ? null : Math.floor(staleAt)
      const answers: string[] = await this.#step('expire', [chunk.map((key) => this.#name(key)), at, this.#feed.channel, frames])
      for (const [i, answer] of answers.entries()) {
        existed.push(answer === 'foreign' ? await this.#rewrite(chunk[i]!, staleAt, stale) : answer === 'stale')
      }
    }
    return existed
  }

  /** Get and delete. */
  take(key: string): Promise<string | null> {
    return this.#step('take', [this.#name(key), this.#feed.channel, `D${this.#feed.head('', key)}`])
  }

  async put(key: string, text: string, keepMs: number | null): Promise<void> {
    const frame = `P${this.#feed.head('', key)}`
    await this.#step('put', [this.#name(key), text, wholeMs(keepMs), this.#feed.channel, frame])
  }

  async mark(tagKeys: readonly string[], text: (time: number) => string): Promise<number> {
    let time = 0
    for (const chunk of inChunks(tagKeys)) {
      time = Math.max(time, Number(await this.#step('time', [chunk.map((key) => this.#name(key))])))
    }
    let carried = time
    for (const chunk of inChunks(tagKeys)) {
      const frames = chunk.map((key) => `T${this.#feed.head('', key)}${time}`)
      const names = chunk.map((key) => this.#name(key))
      carried = Math.max(carried, Number(await this.#step('mark', [names, time, text(time), this.#feed.channel, frames])))
    }
    return carried
  }

  async clear(path: string): Promise<void> {
    const scope = path ? under(this.#prefix, path) : this.#prefix
    // By bytes, ';' comes next to ':'.
    const range = scope ? [`${scope}:`, `${scope};`] : ['', '']
    await this.#step('clear', [...range, this.#feed.channel, `C${this.#feed.head('', path)}`])
  }

  watch(key: string): Watch {
    return this.#feed.watch(key)
  }

  offset(): number {
    return this.#feed.offset
  }

  isOutage(error: unknown): boolean {
    return isOutage(error)
  }

  async prune(o: { values: boolean }): Promise<void> {
    await this.#step('prune', [o.values])
  }

  /** Half a surrogate pair becomes `\uFFFD` on its way, as others of its kind do; a NUL is no text at all. */
  #name(key: string): string {
    const name = under(this.#prefix, key)
    if (/\p{Surrogate}|\0/u.test(name)) throw new E_INVALID_KEY(name, 'well-formed Unicode without NUL')
    return name
  }

  async #delete(keys: readonly string[]): Promise<boolean[]> {
    const existed = new Set<string>()
    for (const chunk of inChunks(keys)) {
      const frames = chunk.map((key) => `D${this.#feed.head('', key)}`)
      const names = chunk.map((key) => this.#name(key))
      for (const name of await this.#step('remove', [names, false, this.#feed.channel, frames])) existed.add(name)
    }
    return keys.map((key) => existed.has(this.#name(key)))
  }

  async #rewrite(key: string, staleAt: number | undefined, stale: MakeStale): Promise<boolean> {
    const schema = await this.#schema()
    const frame = `E${this.#feed.head('', key)}`
    for (let tries = 0; tries < 5; tries++) {
      const name = this.#name(key)
      const found = await this.#sql.query(`select value as text from ${schema.table} where key = $1 and ${schema.isAlive}`, [name])
      const text: string | undefined = found[0]?.['text'] ?? undefined
      if (text === undefined) return false
      const rewritten = this.#rewritten(text, staleAt, stale)
      if (await this.#step('rewrite', [name, this.fingerprint(text), rewritten, this.#feed.channel, frame])) return true
    }
    const [existed] = await this.#delete([key])
    return existed!
  }

  /** `''`: no envelope that we can read, so it has to go instead. */
  #rewritten(text: string, staleAt = this.#feed.serverNow() - 100, stale: MakeStale): string {
    return stale(text, staleAt) ?? ''
  }

  #room(head: string): number {
    return Math.min(this.#inlineBytes, this.#feed.roomBehind(head))
  }

  async #notify(frame: string): Promise<void> {
    if (this.#feed.channel !== '') await this.#sql.query('select pg_notify($1, $2)', [this.#feed.channel, frame])
  }

  async #step(name: string, args: readonly unknown[]): Promise<any> {
    const schema = await this.#schema()
    for (let tries = 0; ; tries++) {
      try {
        return await call(this.#sql, schema, name, args)
      } catch (error) {
        if (tries === 4 || !AGAIN.has(codeOf(error) ?? '')) throw error
      }
    }
  }
}

async function call(sql: Sql, schema: Schema, name: string, args: readonly unknown[]): Promise<any> {
  const places = args.map((_, i) => `$${i + 1}`).join(', ')
  const [row] = await sql.query(`select ${schema.step(name)}(${places}) as answer`, args)
  return row?.['answer']
}

/** Is PostgreSQL away? Everything that is not an answer says so, and some answers do. */
export function isOutage(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return false
  const code = codeOf(error)
  return code === undefined || /^(08|57P0|57014|25006|53)/.test(code)
}

/** SQLSTATE: the server answered, but no. Undefined: it did not answer. */
function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined
}

function endingOf(letter: string, body: string): Ending {
  if (letter === 'V') return { kind: 'value', text: body }
  if (letter === 'F') return { kind: 'failed', error: parseError(body) }
  return { kind: 'nothing' }
}

function inChunks(keys: readonly string[]): string[][] {
  const chunks: string[][] = []
  for (let at = 0; at < keys.length; at += CHUNK) chunks.push(keys.slice(at, at + CHUNK))
  return chunks
}

/** An end beyond every calendar is none. */
function wholeMs(ms: number | null): number | null {
  return ms === null || ms > 8e15 ? null : Math.max(1, Math.ceil(ms))
}
