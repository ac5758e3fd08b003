import { after } from '../../src/base/clock.js'
import type {
  AcquireOptions,
  Acquired,
  Clock,
  Ending,
  Feed,
  FeedEvent,
  FeedListener,
  L2CacheDriver,
  Lease,
  LeaseCapability,
  MakeStale,
  SettleOptions,
  SharedError,
  Watch,
} from '../../src/base/contract.js'
import { staleEnvelope } from '../../src/base/entry.js'
import { Watches } from '../../src/drivers/watches.js'

type Slot =
  | { kind: 'running'; term: string; attempt: string; heldUntil: number; fails: 0 | 1; isWanted: boolean; goneAt: number }
  | { kind: 'ended'; term: string; ending: Ending; failedUntil: number; goneAt: number }

type Frame = Omit<FeedEvent, 'own'> & { from: object }

/** How long, ms, the next piece of one connection is under way. */
export type Delay = (what: string) => number

export interface ConnectionOptions {
  delay?: Delay
  /** Reads do not wait for requests before them. */
  readsOvertake?: boolean
  /** Told of each step that the server takes, in order. */
  trace?: (step: string) => void
}

/** What the coordinator may lack, for a test to show what it is there for. */
export type Missing = 'revocation' | 'term' | 'seen' | 'news'

/** How long an outcome that nobody keeps is remembered for those who were held, ms. */
const REMEMBER = 2_000
const INLINE = 8_192

/**
 * A coordinator in memory, step by step what the Redis scripts are: a server that takes one step at
 * a time, and connections over which requests, replies and frames take as long as the test says,
 * each direction in order. The lease conformance kit holds it to what real engines do.
 */
export class Coordinator {
  readonly clock: Clock
  readonly values = new Map<string, { text: string; deadAt: number }>()
  readonly slots = new Map<string, Slot>()
  readonly #connections = new Set<Connection>()
  readonly missing: Missing | undefined
  #terms = 0

  constructor(clock: Clock, missing?: Missing) {
    this.clock = clock
    this.missing = missing
  }

  driver(o: ConnectionOptions = {}) {
    return { options: {}, factory: (): L2CacheDriver => this.connect(o) }
  }

  connect(o: ConnectionOptions = {}): Connection {
    const connection = new Connection(this, o, () => this.#connections.delete(connection))
    this.#connections.add(connection)
    return connection
  }

  text(key: string): string | undefined {
    const kept = this.values.get(key)
    if (kept !== undefined && kept.deadAt > this.clock.now()) return kept.text
    this.values.delete(key)
    return undefined
  }

  slot(key: string): Slot | undefined {
    const slot = this.slots.get(key)
    if (slot !== undefined && slot.goneAt > this.clock.now()) return slot
    this.slots.delete(key)
    return undefined
  }

  revoke(key: string): void {
    if (this.missing !== 'revocation') this.slots.delete(key)
  }

  newTerm(attempt: string): string {
    return `${attempt}@${++this.#terms}`
  }

  /** The server's time. */
  now(): number {
    return this.clock.now()
  }

  publish(frame: Frame): void {
    if (this.missing === 'news' && frame.term === '') return
    for (const connection of this.#connections) connection.hears(frame)
  }
}

/** One process's connection, as its L2 driver. */
export class Connection implements L2CacheDriver, LeaseCapability, Feed {
  readonly type = 'l2'
  readonly lease = this
  readonly feed = this
  readonly leaseInfo = { scope: 'fleet', wakeup: 'push', clock: 'server', feed: true } as const
  readonly #server: Coordinator
  readonly #delay: Delay
  readonly #readsOvertake: boolean
  readonly #trace: (step: string) => void
  readonly #close: () => void
  readonly #watches: Watches
  #listener: FeedListener | undefined
  #stopVerifying: (() => void) | undefined
  /** When the last piece of each direction arrives: nothing overtakes. */
  readonly #last = { request: 0, reply: 0, frame: 0, ping: 0 }

  constructor(server: Coordinator, o: ConnectionOptions, close: () => void) {
    this.#server = server
    this.#delay = o.delay ?? (() => 0)
    this.#readsOvertake = o.readsOvertake ?? false
    this.#trace = o.trace ?? (() => {})
    this.#close = close
    this.#watches = new Watches({ clock: server.clock, hears: () => true, fastestPoll: 1 })
  }

  /* ------------------------------------------------------------- storage */

  get(key: string): Promise<string | undefined> {
    return this.#step(`get ${key}`, () => this.#server.text(key))
  }

  async set(key: string, text: string, ttl?: number): Promise<boolean> {
    await this.put(key, text, ttl ?? null)
    return true
  }

  async pull(key: string): Promise<string | undefined> {
    const [, text] = await this.#pipeline(key, 'D', () => {
      const taken = this.#server.text(key)
      this.#server.values.delete(key)
      return taken
    })
    return text as string | undefined
  }

  async delete(key: string): Promise<boolean> {
    const [existed] = await this.invalidate([key], 'delete')
    return existed!
  }

  async deleteMany(keys: string[]): Promise<boolean> {
    await this.invalidate(keys, 'delete')
    return true
  }

  remainingTtl(key: string): Promise<number> {
    return this.#step(`pttl ${key}`, () => (this.#server.text(key) === undefined ? 0 : this.#server.values.get(key)!.deadAt - this.#server.now()))
  }

  namespace(): never {
    throw new Error('the tier asks by path')
  }

  async disconnect(): Promise<void> {
    this.#stopVerifying?.()
    this.#listener = undefined
    this.#watches.close()
    this.#close()
  }

  /* -------------------------------------------------------------- leases */

  fingerprint(text: string | undefined): string {
    return text ?? ''
  }

  acquire(key: string, o: AcquireOptions): Promise<Acquired> {
    return this.#step(`acquire ${key} ${o.attempt}`, (): Acquired => {
      const { slots } = this.#server
      const now = this.#server.now()
      const slot = this.#server.slot(key)
      const running = slot?.kind === 'running' ? slot : undefined
      const isMine = running?.attempt === o.attempt
      const seen = this.#server.text(key) ?? ''
      if (!o.force && seen !== o.seen && this.#server.missing !== 'seen') {
        if (isMine) slots.delete(key)
        return { kind: 'changed' }
      }
      if (!isMine) {
        if (running !== undefined && running.heldUntil > now && !o.force) {
          running.isWanted = true
          return { kind: 'held', term: running.term, leftMs: running.heldUntil - now, at: now }
        }
        if (slot?.kind === 'ended' && slot.term === o.heldIn) return { kind: 'ended', ending: slot.ending }
        if (slot?.kind === 'ended' && slot.ending.kind === 'failed' && slot.failedUntil > now && !o.force && !o.ignoreFailure) {
          return { kind: 'failed', error: slot.ending.error, leftMs: slot.failedUntil - now }
        }
      }
      const inherits = running !== undefined && !o.force
      const term = inherits ? running.term : this.#server.newTerm(o.attempt)
      const fails = inherits ? running.fails : 0
      const isWanted = inherits && running.isWanted
      slots.set(key, { kind: 'running', term, attempt: o.attempt, heldUntil: now + o.ttlMs, fails, isWanted, goneAt: now + 4 * o.ttlMs })
      return { kind: 'granted', lease: { key, term, attempt: o.attempt, seen }, createdAt: Math.max(now, o.floor ?? 0), fails }
    })
  }

  fulfill(lease: Lease, text: string, o: { keepMs: number | null }): Promise<'stored' | 'refused' | 'foreign'> {
    const { key, term, seen, attempt } = lease
    return this.#step(`fulfill ${key} ${attempt} ${term}`, () => {
      const slot = this.#server.slot(key)
      const current = this.#server.text(key) ?? ''
      const { missing } = this.#server
      const isAlive = (slot?.kind === 'running' && slot.term === term) || missing === 'term'
      if (!isAlive || (current !== '' && current !== seen && missing !== 'seen')) {
        if (current === text) return 'stored'
        if (!isAlive) return 'refused'
        this.#server.slots.delete(key)
        this.#publish({ kind: 'again', key, term })
        return 'foreign'
      }
      this.#keep(key, text, o.keepMs)
      this.#server.slots.delete(key)
      this.#publish({ kind: 'stored', key, term, ...(slot?.kind === 'running' && slot.isWanted && text.length <= INLINE && { text }) })
      return 'stored'
    })
  }

  settle(lease: Lease, ending: Ending, o: SettleOptions): Promise<'again' | 'ended' | 'lost'> {
    const { key, term, attempt } = lease
    return this.#step(`settle ${key} ${attempt} ${ending.kind}`, () => {
      const { slots } = this.#server
      const now = this.#server.now()
      const slot = this.#server.slot(key)
      const tell = (ended: Ending) => this.#publish(eventOf(ended, key, term))
      const isAlive = slot?.kind === 'running' && slot.term === term
      if (!isAlive || slot.attempt !== attempt) {
        if (ending.kind === 'value' || ending.kind === 'nothing') tell(ending)
        else if (!isAlive) tell({ kind: 'abandoned' })
        return 'lost'
      }
      const isFirstFailure = ending.kind === 'failed' && slot.fails === 0 && o.backoffMs === 0 && (slot.isWanted || o.followers)
      if (isFirstFailure || ending.kind === 'abandoned') {
        slots.set(key, { ...slot, attempt: '', heldUntil: 0, fails: isFirstFailure ? 1 : slot.fails, isWanted: slot.isWanted || o.followers })
        tell({ kind: 'abandoned' })
        return 'again'
      }
      const backoffMs = ending.kind === 'failed' ? o.backoffMs : 0
      const rememberMs = Math.max(backoffMs, slot.isWanted ? REMEMBER : 0)
      if (rememberMs === 0) slots.delete(key)
      else slots.set(key, { kind: 'ended', term, ending, failedUntil: now + backoffMs, goneAt: now + rememberMs })
      tell(ending)
      return 'ended'
    })
  }

  renew(leases: readonly { lease: Lease; hold: boolean }[], ttlMs: number): Promise<boolean[]> {
    return this.#step(`renew ${leases.map(({ lease }) => lease.key).join(' ')}`, () =>
      leases.map(({ lease, hold }) => {
        const slot = this.#server.slot(lease.key)
        if (slot?.kind !== 'running' || slot.term !== lease.term) return false
        const now = this.#server.now()
        if (slot.attempt === lease.attempt && hold) slot.heldUntil = now + ttlMs
        slot.goneAt = now + 4 * ttlMs
        return true
      })
    )
  }

  async invalidate(keys: readonly string[], how: 'delete' | 'expire', stale: MakeStale = staleEnvelope): Promise<boolean[]> {
    return Promise.all(
      keys.map(async (key) => {
        if (how === 'delete') {
          const [, existed] = await this.#pipeline(key, 'D', () => this.#server.text(key) !== undefined && this.#server.values.delete(key))
          return existed as boolean
        }
        return this.#step(`expire ${key}`, () => {
          this.#server.revoke(key)
          const text = this.#server.text(key)
          const rewritten = text && stale(text, this.#server.now() - 100)
          if (rewritten) this.#server.values.get(key)!.text = rewritten
          else this.#server.values.delete(key)
          this.#publish({ kind: 'expired', key, term: '' })
          return text !== undefined
        })
      })
    )
  }

  async put(key: string, text: string, keepMs: number | null): Promise<void> {
    await this.#pipeline(key, 'P', () => this.#keep(key, text, keepMs))
  }

  async mark(tagKeys: readonly string[], text: (time: number) => string): Promise<number> {
    const markOf = (key: string) => Number(/"createdAt":(\d+)/.exec(this.#server.text(key) ?? '')?.[1] ?? 0)
    const times = await Promise.all(tagKeys.map((key) => this.#step(`time ${key}`, () => Math.max(this.#server.now(), markOf(key) + 1))))
    const time = Math.max(...times)
    const carried = await Promise.all(
      tagKeys.map((key) =>
        this.#step(`mark ${key}`, () => {
          if (markOf(key) >= time) return markOf(key)
          this.#keep(key, text(time), null)
          this.#publish({ kind: 'tagged', key, term: '', time })
          return time
        })
      )
    )
    return Math.max(time, ...carried)
  }

  async clear(prefix = ''): Promise<void> {
    const scope = prefix === '' ? '' : `${prefix}:`
    const below = (map: Map<string, unknown>) => [...map.keys()].filter((key) => key.startsWith(scope))
    // As a scan does it: leases first, then values, and not all in one step.
    for (const map of [this.#server.slots, this.#server.values]) {
      for (const key of await this.#step(`scan ${prefix}`, () => below(map))) await this.#step(`unlink ${key}`, () => map.delete(key))
    }
    await this.#step(`publish clear ${prefix}`, () => this.#publish({ kind: 'cleared', key: prefix, term: '' }))
  }

  offset(): number {
    return 0
  }

  isOutage(): boolean {
    return false
  }

  /* ---------------------------------------------------------------- feed */

  open(o: { maxStalenessMs: number; listener: FeedListener }): void {
    this.#listener = o.listener
    const verify = () => {
      const sentAt = this.#server.clock.now()
      // Asked on the connection that brings the frames: the answer comes behind them.
      this.#arrive('ping', 'ping', () => this.#arrive('frame', 'pong', () => this.#listener?.onVerified(sentAt + o.maxStalenessMs)))
      this.#stopVerifying = after(this.#server.clock, o.maxStalenessMs / 4, verify)
    }
    this.#arrive('ping', 'subscribe', () => {
      this.#isStanding = true
      this.#arrive('frame', 'gap', () => this.#tellGap())
      verify()
    })
  }

  look(): boolean {
    return false
  }

  hears({ from, ...frame }: Frame): void {
    if (!this.#isStanding) return
    const event: FeedEvent = { ...frame, own: from === this }
    this.#arrive('frame', `frame ${event.kind} ${event.key}`, () => {
      this.#tell(event)
    })
  }

  /** The connection that brings the frames breaks: those under way are lost, and it stands again. */
  loseFrames(): void {
    this.#lostAt = this.#server.clock.now()
    this.#arrive('frame', 'gap', () => this.#tellGap())
  }

  watch(key: string): Watch {
    return this.#watches.open(key)
  }

  #tellGap(): void {
    this.#tell({ kind: 'gap', key: '', term: '', own: false })
  }

  #tell(event: FeedEvent): void {
    this.#listener?.onEvent(event)
    this.#watches.tell(event)
  }

  /* ------------------------------------------------------------- network */

  #isStanding = false
  /** When frames under way were last lost. */
  #lostAt = -1

  /** Request, one step of the server, reply. */
  #step<T>(what: string, step: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#arrive('request', what, () => {
        this.#trace(what)
        try {
          const answer = step()
          this.#arrive('reply', what, () => resolve(answer))
        } catch (error) {
          reject(error as Error)
        }
      })
    })
  }

  /** Revoke, write, tell: one write of the socket, but three steps of the server. */
  #pipeline(key: string, letter: 'D' | 'P', write: () => unknown): Promise<unknown[]> {
    return Promise.all([
      this.#step(`${letter} revoke ${key}`, () => this.#server.revoke(key)),
      this.#step(`${letter} write ${key}`, write),
      this.#step(`${letter} publish ${key}`, () => this.#publish({ kind: letter === 'D' ? 'deleted' : 'put', key, term: '' })),
    ])
  }

  #arrive(direction: 'request' | 'reply' | 'frame' | 'ping', what: string, arrived: () => void): void {
    const { clock } = this.#server
    const now = clock.now()
    const soonest = now + this.#delay(`${direction} ${what}`)
    const isFree = this.#readsOvertake && what.startsWith('get ')
    const at = isFree ? soonest : Math.max(this.#last[direction], soonest)
    if (!isFree) this.#last[direction] = at
    clock.setTimeout(() => {
      const isLost = direction === 'frame' && what !== 'gap' && now <= this.#lostAt && this.#lostAt <= at
      if (!isLost) arrived()
    }, at - now)
  }

  #publish(frame: Omit<FeedEvent, 'own'>): void {
    this.#server.publish({ ...frame, from: this })
  }

  #keep(key: string, text: string, keepMs: number | null): void {
    this.#server.values.set(key, { text, deadAt: keepMs === null ? Infinity : this.#server.now() + keepMs })
  }
}

function eventOf(ending: Ending, key: string, term: string): Omit<FeedEvent, 'own'> {
  const isShort = (text: string) => text.length <= INLINE
  if (ending.kind === 'value' && isShort(ending.text)) return { kind: 'value', key, term, text: ending.text }
  if (ending.kind === 'nothing') return { kind: 'nothing', key, term }
  if (ending.kind === 'failed') return { kind: 'failed', key, term, error: ending.error satisfies SharedError }
  return { kind: 'again', key, term }
}
