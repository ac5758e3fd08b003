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
import { isNoPermission, isOutage } from './client.js'
import type { Command, RedisClient } from './client.js'
import type { RedisFeed } from './feed.js'
import { parseError } from '../frames.js'
import type { Names } from './keys.js'
import { ACQUIRE, EXPIRE, FULFILL, MARK, RENEW, SETTLE, TAKE } from './scripts.js'

/** What our own envelopes end in (`base/entry.ts`). */
const TAIL = /"createdAt":\d{13},"logicalExpiration":\d{13}}$/
const TAIL_LENGTH = 60
/** How long an end that nobody stored is told to those who missed its frame. */
const REMEMBER = 2_000
const STAGED_LIFE = 10_000
/** Keys in one pipeline: enough to be fast, few enough not to hold up everybody else. */
const CHUNK = 500

const LETTERS = { value: 'V', nothing: 'N', failed: 'F', abandoned: 'A' } as const

/** Leases and whatever else changes values, on Redis. What each step guarantees: `scripts.ts`. */
export class RedisLease implements LeaseCapability {
  readonly #client: RedisClient
  readonly #names: Names
  readonly #feed: RedisFeed
  readonly #inlineBytes: number
  /** Older than Redis 6.2. */
  #hasNoGetDel = false

  constructor(o: { client: RedisClient; names: Names; feed: RedisFeed; inlineBytes: number }) {
    this.#client = o.client
    this.#names = o.names
    this.#feed = o.feed
    this.#inlineBytes = o.inlineBytes
  }

  get feed(): Feed {
    return this.#feed
  }

  get leaseInfo(): LeaseInfo {
    const isPush = !this.#feed.isForbidden
    return { scope: 'fleet', wakeup: isPush ? 'push' : 'poll', clock: 'server', feed: isPush }
  }

  fingerprint(text: string | undefined): string {
    if (text === undefined || text === '') return ''
    const tail = text.slice(-TAIL_LENGTH)
    return TAIL.test(tail) ? tail : createHash('sha1').update(text).digest('hex')
  }

  async acquire(key: string, o: AcquireOptions): Promise<Acquired> {
    const { attempt, seen } = o
    const args = [attempt, Math.ceil(o.ttlMs), seen, flag(o.force), flag(o.ignoreFailure), Math.ceil(o.floor ?? 0), o.heldIn ?? '']
    const [kind, ...rest] = await ACQUIRE.run(this.#client, [this.#names.value(key), this.#leaseOf(key)], args)
    switch (kind) {
      case 'granted': {
        const [term, createdAt, fails, found] = rest
        const lease = { key, term, attempt, seen: found }
        return { kind: 'granted', lease, createdAt: Number(createdAt), fails: Number(fails) === 0 ? 0 : 1 }
      }
      case 'held':
        return { kind: 'held', term: rest[0], leftMs: Number(rest[1]), at: Number(rest[2]) }
      case 'ended':
        return { kind: 'ended', ending: endingOf(rest[0], rest[1]) }
      case 'failed':
        return { kind: 'failed', leftMs: Number(rest[0]), error: parseError(rest[1]) }
      default:
        return { kind: 'changed' }
    }
  }

  async fulfill(lease: Lease, text: string, o: { keepMs: number | null }): Promise<'stored' | 'refused' | 'foreign'> {
    const { key, term, attempt, seen } = lease
    const keys = [this.#names.value(key), this.#leaseOf(key)]
    const rest = [o.keepMs === null ? '' : wholeMs(o.keepMs), seen, this.#feed.head(term, key), this.#feed.channel]
    if (Buffer.byteLength(text) <= this.#inlineBytes) return FULFILL.run(this.#client, keys, [term, text, ...rest])

    // Renamed instead of copied through Lua: Redis is held up a sixth of the time.
    const staged = this.#names.staged(key, attempt)!
    for (let tries = 0; tries < 3; tries++) {
      const set: Command = ['set', staged, text, 'px', STAGED_LIFE]
      const answer = await FULFILL.runAfter(this.#client, [set], [...keys, staged], [term, '', ...rest])
      if (answer !== 'restage') return answer
    }
    throw new Error('The text was gone three times before it could be stored')
  }

  async settle(lease: Lease, ending: Ending, o: SettleOptions): Promise<'again' | 'ended' | 'lost'> {
    const body = ending.kind === 'value' ? ending.text : ending.kind === 'failed' ? JSON.stringify(ending.error) : ''
    const isInline = Buffer.byteLength(body) <= this.#inlineBytes
    const { key, term, attempt } = lease
    const told = [LETTERS[ending.kind], term, attempt, this.#feed.channel, this.#feed.head(term, key), body]
    const args = [...told, flag(o.followers), Math.ceil(o.backoffMs), REMEMBER, flag(isInline)]
    return SETTLE.run(this.#client, [this.#leaseOf(key)], args)
  }

  async renew(leases: readonly { lease: Lease; hold: boolean }[], ttlMs: number): Promise<boolean[]> {
    if (leases.length === 0) return []
    const groups = this.#client.isCluster ? leases.map((one) => [one]) : [leases]
    const answers = await Promise.all(
      groups.map((group) => {
        const args = group.flatMap(({ lease, hold }) => [lease.term, lease.attempt, Math.ceil(ttlMs), flag(hold)])
        return RENEW.run(
          this.#client,
          group.map(({ lease }) => this.#leaseOf(lease.key)),
          args
        )
      })
    )
    return answers.flat().map((alive) => Number(alive) === 1)
  }

  invalidate(keys: readonly string[], how: 'delete' | 'expire', stale?: MakeStale): Promise<boolean[]> {
    return how === 'delete' ? this.#delete(keys) : inChunks(keys, (key) => this.expire(key, undefined, stale))
  }

  /** Makes one entry stale as of `staleAt` (epoch ms; default: just now by the server's clock). */
  async expire(key: string, staleAt?: number, stale: MakeStale = staleEnvelope): Promise<boolean> {
    const value = this.#names.value(key)
    const lease = this.#names.lease(key)
    const keys = lease === undefined ? [value] : [value, lease]
    const args = [staleAt === undefined ? '' : Math.floor(staleAt), this.#feed.channel, `E${this.#feed.head('', key)}`]
    try {
      let rewrite: string[] = []
      for (let tries = 0; tries < 5; tries++) {
        const answer = await EXPIRE.run(this.#client, keys, [...args, ...rewrite])
        if (answer !== 'foreign') return Number(answer) === 1
        const text = (await this.#client.get(value)) ?? ''
        rewrite = [this.fingerprint(text), this.#rewritten(text, staleAt, stale)]
      }
    } catch (error) {
      if (!isScriptingRefused(error)) throw error
      return this.#expireWithoutScripts(key, staleAt, stale)
    }
    // Not even text: what we read is not what is stored, so it cannot be rewritten.
    const [existed] = await this.#delete([key])
    return existed!
  }

  /** Get and delete. */
  async take(key: string): Promise<string | null> {
    const value = this.#names.value(key)
    try {
      const [, text] = await this.#write(key, this.#hasNoGetDel ? TAKE(value) : ['getdel', value], 'D')
      return text
    } catch (error) {
      if (this.#hasNoGetDel || !isUnknownCommand(error)) throw error
      this.#hasNoGetDel = true
      return this.take(key)
    }
  }

  async put(key: string, text: string, keepMs: number | null): Promise<void> {
    const value = this.#names.value(key)
    const set: Command = keepMs === null ? ['set', value, text] : ['set', value, text, 'px', wholeMs(keepMs)]
    await this.#write(key, set, 'P')
  }

  async mark(tagKeys: readonly string[], text: (time: number) => string): Promise<number> {
    const found = await inChunks(tagKeys, async (key) => {
      const [time, old] = await this.#client.pipeline([['time'], ['get', this.#names.value(key)]])
      for (const reply of [time, old]) if (reply instanceof Error) throw reply
      // Past an older mark in any case: the clock of a server that took over may be behind.
      const before = Number(/"createdAt":(\d+)/.exec(old ?? '')?.[1] ?? 0)
      return Math.max(Math.floor(Number(time[0]) * 1_000 + Number(time[1]) / 1_000), before + 1)
    })
    const time = Math.max(0, ...found)
    const carried = await inChunks(tagKeys, (key) => this.#mark(key, time, text(time)))
    return Math.max(time, ...carried)
  }

  async clear(path: string): Promise<void> {
    const { leases, values } = this.#names.patterns(path)
    const primaries = await this.#client.primaries()
    await Promise.all(
      primaries.map(async (primary) => {
        const sweep = async (pattern: string, concerns: (name: string) => boolean) => {
          let cursor = '0'
          do {
            const [next, names] = await primary.scan(cursor, pattern)
            const concerned = names.filter(concerns)
            if (concerned.length > 0) await primary.unlink(concerned)
            cursor = String(next)
          } while (cursor !== '0')
        }
        // All leases, then the values: with both in one pass a value is removed, its leader stores
        // it anew under a lease the pass has yet to come to, and it stays.
        await sweep(leases, (name) => this.#names.isLeaseBelow(path, name))
        await sweep(values, () => true)
      })
    )
    await this.#publish(`C${this.#feed.head('', path)}`)
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

  async #delete(keys: readonly string[]): Promise<boolean[]> {
    if (this.#client.isCluster || keys.length === 1) {
      return inChunks(keys, async (key) => {
        const [, removed] = await this.#write(key, ['unlink', this.#names.value(key)], 'D')
        return Number(removed) > 0
      })
    }
    const existed: boolean[] = []
    for (let at = 0; at < keys.length; at += CHUNK) {
      const chunk = keys.slice(at, at + CHUNK)
      const leases: Command = ['unlink', ...chunk.map((key) => this.#names.lease(key)!)]
      const values = chunk.map((key): Command => ['unlink', this.#names.value(key)])
      const frames = chunk.map((key) => `D${this.#feed.head('', key)}`)
      const replies = await this.#inOneWrite([leases, ...values], frames)
      existed.push(...replies.slice(1).map((removed) => Number(removed) > 0))
    }
    return existed
  }

  /**
   * The lease first: a leader in between is refused. Not a transaction: a PUBLISH that is
   * forbidden, or memory that is full, must not undo the rest.
   */
  #write(key: string, write: Command, letter: 'D' | 'E' | 'P'): Promise<any[]> {
    const lease = this.#names.lease(key)
    // Where a Cluster has no place for the lease, something that answers in its stead.
    const revoke: Command = lease === undefined ? ['exists', this.#names.value(key)] : ['unlink', lease]
    return this.#inOneWrite([revoke, write], [`${letter}${this.#feed.head('', key)}`])
  }

  /** Replies to the commands. @throws the first refusal */
  async #inOneWrite(commands: Command[], frames: string[]): Promise<any[]> {
    const { channel } = this.#feed
    const publish = channel === '' ? [] : frames.map((frame): Command => ['publish', channel, frame])
    const replies = await this.#client.pipeline([...commands, ...publish])
    for (const reply of replies.splice(commands.length)) this.#feed.published(reply)
    for (const reply of replies) if (reply instanceof Error) throw reply
    return replies
  }

  async #publish(frame: string): Promise<void> {
    const { channel } = this.#feed
    if (channel === '') return
    await this.#client.call(['publish', channel, frame]).catch((error) => {
      this.#feed.published(error)
      if (isOutage(error)) throw error
    })
  }

  async #mark(key: string, time: number, text: string): Promise<number> {
    const value = this.#names.value(key)
    const frame = `T${this.#feed.head('', key)}${time}`
    try {
      return Number(await MARK.run(this.#client, [value], [text, time, this.#feed.channel, frame]))
    } catch (error) {
      if (!isScriptingRefused(error)) throw error
      await this.#inOneWrite([['set', value, text]], [frame])
      return time
    }
  }

  async #expireWithoutScripts(key: string, staleAt: number | undefined, stale: MakeStale): Promise<boolean> {
    const value = this.#names.value(key)
    const text = await this.#client.get(value)
    if (text === null) return false
    const rewritten = this.#rewritten(text, staleAt, stale)
    const write: Command = rewritten === '' ? ['unlink', value] : ['set', value, rewritten, 'xx', 'keepttl']
    await this.#write(key, write, 'E')
    return true
  }

  /** `''`: no envelope that we can read, so it has to go instead. */
  #rewritten(text: string, staleAt = this.#feed.serverNow() - 100, stale: MakeStale): string {
    return stale(text, staleAt) ?? ''
  }

  /** @throws where a Cluster could not keep the lease beside the value */
  #leaseOf(key: string): string {
    const lease = this.#names.lease(key)
    if (lease === undefined) throw new Error(`CROSSSLOT braces: the lease of "${key}" would lie in another slot`)
    return lease
  }
}

function endingOf(letter: string, body: string): Ending {
  if (letter === 'V') return { kind: 'value', text: body }
  if (letter === 'F') return { kind: 'failed', error: parseError(body) }
  return { kind: 'nothing' }
}

function isScriptingRefused(error: unknown): boolean {
  return isNoPermission(error) || isUnknownCommand(error)
}

function isUnknownCommand(error: unknown): boolean {
  return error instanceof Error && /^ERR unknown command/i.test(error.message)
}

async function inChunks<T>(keys: readonly string[], one: (key: string) => Promise<T>): Promise<T[]> {
  const answers: T[] = []
  for (let at = 0; at < keys.length; at += CHUNK) {
    answers.push(...(await Promise.all(keys.slice(at, at + CHUNK).map(one))))
  }
  return answers
}

function wholeMs(ms: number): number {
  return Math.max(1, Math.ceil(ms))
}

function flag(isSo: boolean | undefined): string {
  return isSo ? '1' : '0'
}
