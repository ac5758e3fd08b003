import { sleep } from '../base/clock.js'
import type { CacheSerializer, Clock, L2CacheDriver, LeaseCapability, Logger, MakeStale } from '../base/contract.js'
import { expireText, staleEnvelope } from '../base/entry.js'
import type { Codec, Entry } from '../base/entry.js'
import { E_L2_CACHE_ERROR } from '../base/errors.js'
import { within } from '../base/promises.js'
import { Debts } from './debts.js'
import type { Debt } from './debts.js'
import type { Guard } from './guard.js'

/** How far ahead of the coordinator's clock an entry of ours can be, ms; what is more is a clock gone wrong. */
const MOST_AHEAD = 50

/** What a read found. `text` as it was stored; no entry and no trouble = a miss. */
export interface Read {
  entry?: Entry
  text?: string
  trouble?: E_L2_CACHE_ERROR
}

/** How long the caller waits for one operation, and how long until its silence is an outage. */
export interface Bound {
  wait: number
  outage: number
}

export interface RemoteOptions {
  driver: L2CacheDriver
  codec: Codec
  serializer: CacheSerializer | undefined
  guard: Guard
  clock: Clock
  log: Logger | undefined
  /** The store's grace, ms: how long an engine that cannot tell keeps an entry, from its write. */
  grace: number
}

/** L2: text stays inside, errors become answers. Keys are paths: namespaces and key, no prefix. */
export class Remote {
  readonly #driver: L2CacheDriver
  readonly #lease: LeaseCapability | undefined
  readonly #codec: Codec
  readonly #stale: MakeStale
  readonly #guard: Guard
  readonly #clock: Clock
  readonly #grace: number
  readonly #debts: Debts
  readonly #queue: KeyQueue

  constructor(o: RemoteOptions) {
    this.#driver = o.driver
    this.#lease = o.driver.lease
    this.#codec = o.codec
    this.#stale = o.serializer === undefined ? staleEnvelope : (text, staleAt) => expireText(text, staleAt, o.serializer)
    this.#guard = o.guard
    this.#clock = o.clock
    this.#grace = o.grace
    this.#queue = new KeyQueue(o.clock)
    this.#debts = new Debts({
      clock: o.clock,
      pay: (debt) => this.#pay(debt),
      dropped: (debt) => o.log?.error?.({ key: debt.key }, `gave up an unacknowledged ${debt.how}: too many are owed`),
    })
  }

  get isDown(): boolean {
    return this.#guard.downSince !== undefined
  }

  /** Local time + this = the time of whoever coordinates. */
  get offset(): number {
    return this.#lease === undefined ? 0 : this.#lease.offset()
  }

  async read(key: string, bound: Bound): Promise<Read> {
    const text = await this.#guard.run(() => this.#driver.get(key), bound.wait, bound.outage)
    return this.#found(key, text)
  }

  /** In one round trip where the driver can. One failure is everybody's. */
  async readMany(keys: readonly string[], bound: Bound): Promise<(Entry | undefined)[] | E_L2_CACHE_ERROR> {
    const driver = this.#driver
    const texts = await this.#guard.run(
      () => (driver.getMany ? driver.getMany([...keys]) : Promise.all(keys.map((key) => driver.get(key)))),
      bound.wait,
      bound.outage
    )
    if (texts instanceof E_L2_CACHE_ERROR) return texts
    return keys.map((key, i) => this.#found(key, texts[i]).entry)
  }

  /** An explicit write. Whether the engine took it. */
  async write(key: string, text: string, keepMs: number, bound: Bound): Promise<boolean | E_L2_CACHE_ERROR> {
    const write = async () => {
      if (this.#lease === undefined) return this.#driver.set(key, text, keepMs === Infinity ? undefined : keepMs)
      await this.#lease.put(key, text, keepMs === Infinity ? null : keepMs)
      return true
    }
    const written = await this.#guard.run(() => this.#inTurn([key], write), bound.wait, bound.outage)
    if (!(written instanceof E_L2_CACHE_ERROR)) this.#debts.settle(key)
    return written
  }

  /** Whether each existed. What is not acknowledged is owed. */
  async delete(keys: readonly string[], bound: Bound): Promise<boolean[] | E_L2_CACHE_ERROR> {
    const at = this.now()
    const removed = await this.#guard.run(() => this.#delete(keys), bound.wait, bound.outage)
    this.#settleOrOwe(removed, keys, { how: 'delete', at })
    return removed
  }

  /** Makes stale, keeping the ttl. Whether each existed. */
  async expire(keys: readonly string[], bound: Bound): Promise<boolean[] | E_L2_CACHE_ERROR> {
    const at = this.now()
    const expired = await this.#guard.run(() => this.#expire(keys, at), bound.wait, bound.outage)
    this.#settleOrOwe(expired, keys, { how: 'expire', at })
    return expired
  }

  /** Everything under a namespace path; `''` = all of the store. */
  async clear(path: string, bound: Bound): Promise<true | E_L2_CACHE_ERROR> {
    const at = this.now()
    const cleared = await this.#guard.run(() => this.#clear(path), bound.wait, bound.outage)
    if (cleared instanceof E_L2_CACHE_ERROR) this.#debts.add({ how: 'clear', key: path, at })
    return cleared
  }

  /**
   * Removes what a flight wrote while its key was invalidated, unless somebody has written since.
   * Schedule: our write is sent, another process deletes (or a clear scans past the key), it arrives.
   */
  async takeBack(key: string, text: string, bound: Bound): Promise<void> {
    const remove = async () => {
      if ((await this.#driver.get(key)) === text) await (this.#lease ? this.#delete([key]) : this.#driver.delete(key))
    }
    const removed = await this.#guard.run(() => this.#inTurn([key], remove), bound.wait, bound.outage)
    if (removed instanceof E_L2_CACHE_ERROR) {
      this.#debts.add({ how: 'delete', key, at: this.#codec.decode(text)?.createdAt ?? this.now() })
    }
  }

  /** Get and delete in one step. */
  async pull(key: string, bound: Bound): Promise<Read> {
    // Not every engine can take atomically; within the process, takers of one key queue up.
    const text = await this.#guard.run(() => this.#queue.run([key], () => this.#driver.pull(key)), bound.wait, bound.outage)
    return this.#found(key, text)
  }

  /**
   * Writes tag marks, for ever: an entry of any age may still carry the tag. Resolves their time,
   * which is `floor` or later.
   */
  async mark(markKeys: readonly string[], floor: number, bound: Bound): Promise<number | E_L2_CACHE_ERROR> {
    const at = Math.max(this.now(), floor)
    const time = await this.#guard.run(() => this.#mark(markKeys, this.#lease ? floor : at), bound.wait, bound.outage)
    if (time instanceof E_L2_CACHE_ERROR) for (const key of markKeys) this.#debts.add({ how: 'mark', key, at })
    return time
  }

  async prune(): Promise<void> {
    await this.#driver.prune?.()
  }

  async disconnect(): Promise<void> {
    this.#guard.close()
    this.#debts.close()
    await this.#driver.disconnect()
  }

  /** Epoch ms on the coordinator's clock. */
  now(): number {
    return this.#clock.now() + this.offset
  }

  #found(key: string, text: string | undefined | null | E_L2_CACHE_ERROR): Read {
    if (text === undefined || text === null) return {}
    if (text instanceof E_L2_CACHE_ERROR) return { trouble: text }
    const entry = this.#codec.decode(text)
    if (entry === undefined) return { text } // corrupt or foreign: a miss that a write will mend
    const debt = this.#debts.of(key, entry.createdAt)
    if (debt?.how === 'expire') entry.freshUntil = Math.min(entry.freshUntil, debt.at)
    else if (debt !== undefined && debt.how !== 'mark') return { text }
    entry.calmUntil = entry.freshUntil - this.offset
    return { entry, text }
  }

  async #delete(keys: readonly string[]): Promise<boolean[]> {
    if (this.#lease !== undefined) return this.#lease.invalidate(keys, 'delete')
    if (keys.length === 1) return [await this.#inTurn(keys, () => this.#driver.delete(keys[0]!))]
    if (keys.length > 0) await this.#inTurn(keys, () => this.#driver.deleteMany([...keys]))
    return keys.map(() => true)
  }

  async #expire(keys: readonly string[], at: number): Promise<boolean[]> {
    if (this.#lease !== undefined) return this.#lease.invalidate(keys, 'expire', this.#stale)
    return Promise.all(keys.map((key) => this.#queue.run([key], () => this.#expireOne(key, at - 100))))
  }

  async #expireOne(key: string, staleAt: number): Promise<boolean> {
    const driver = this.#driver
    if (driver.expire) return driver.expire(key, staleAt)
    const text = await driver.get(key)
    const stale = text && this.#stale(text, staleAt)
    if (!text || stale === undefined) return false
    const left = driver.remainingTtl ? await driver.remainingTtl(key) : this.#guessRemaining(text)
    if (left <= 0) return false
    await driver.set(key, stale as string, left === Infinity ? undefined : Math.ceil(left))
    return true
  }

  /** For engines that cannot tell: what the envelope says, and the store's grace. */
  #guessRemaining(text: string): number {
    const entry = this.#codec.decode(text)
    if (entry === undefined) return 0
    return Math.max(entry.freshUntil, (entry.createdAt ?? 0) + this.#grace) - this.now()
  }

  async #clear(path: string): Promise<true> {
    if (this.#lease !== undefined) await this.#lease.clear(path)
    else await (path ? this.#driver.namespace(path) : this.#driver).clear()
    return true
  }

  /** At that time; a coordinator's own clock is waited for until it is as late. */
  async #mark(markKeys: readonly string[], at: number): Promise<number> {
    const text = (time: number) => this.#codec.encode(time, time, Infinity, [])
    if (this.#lease !== undefined) {
      const time = await this.#lease.mark(markKeys, text)
      if (time >= at) return time
      await sleep(this.#clock, Math.min(at - time + 1, MOST_AHEAD))
      return Math.max(at, await this.#lease.mark(markKeys, text))
    }
    for (const key of markKeys) await this.#driver.set(key, text(at))
    return at
  }

  /** "If what is stored is older than this": a value written since stays. */
  async #pay(debt: Debt): Promise<boolean> {
    const paid = await this.#guard.run(async () => {
      if (debt.how === 'clear') return this.#clear(debt.key)
      if (debt.how === 'mark') return this.#payMark(debt)
      const text = await this.#driver.get(debt.key)
      const entry = text ? this.#codec.decode(text) : undefined
      if (!text || (entry?.createdAt !== undefined && entry.createdAt > debt.at)) return true
      await (debt.how === 'delete' ? this.#delete([debt.key]) : this.#expire([debt.key], debt.at))
      return true
    }, 2_000)
    return paid === true
  }

  async #payMark(debt: Debt): Promise<true> {
    const text = await this.#driver.get(debt.key)
    const entry = text ? this.#codec.decode(text) : undefined
    if (entry === undefined || !(Number(this.#codec.open(entry)) >= debt.at)) await this.#mark([debt.key], debt.at)
    return true
  }

  #settleOrOwe(answer: unknown, keys: readonly string[], debt: Omit<Debt, 'key'>): void {
    for (const key of keys) {
      if (answer instanceof E_L2_CACHE_ERROR) this.#debts.add({ ...debt, key })
      else this.#debts.settle(key)
    }
  }

  /** Without scripts a rewrite is get and set: writes of its key wait for it, and it for them. */
  #inTurn<T>(keys: readonly string[], operation: () => Promise<T>): Promise<T> {
    return this.#lease === undefined ? this.#queue.run(keys, operation) : operation()
  }
}

/** One that has not ended after so long holds nobody back any more: it may never end. */
const HUNG = 2_000

/** Operations of one key, one after another. */
class KeyQueue {
  readonly #clock: Clock
  readonly #last = new Map<string, { done: Promise<unknown>; since: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  run<T>(keys: readonly string[], operation: () => Promise<T>): Promise<T> {
    const before = keys.flatMap((key) => this.#last.get(key) ?? [])
    const mine = before.length === 0 ? operation() : Promise.all(before.map((turn) => this.#letPass(turn))).then(operation)
    const turn = { done: mine, since: this.#clock.now() }
    for (const key of keys) this.#last.set(key, turn)
    const leave = () => {
      for (const key of keys) if (this.#last.get(key) === turn) this.#last.delete(key)
    }
    mine.then(leave, leave)
    return mine
  }

  #letPass({ done, since }: { done: Promise<unknown>; since: number }): Promise<unknown> {
    return within(this.#clock, done, since + HUNG - this.#clock.now()).catch(() => {})
  }
}
