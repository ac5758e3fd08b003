/**
 * What the cache asks of the engines below it: storage (L1, L2), leases, transport, serializer,
 * clock. Shapes marked (1.6.1) are those of npm's bentocache 1.6.1, so that foreign drivers,
 * buses and serializers keep working; everything else is optional and looked for once.
 */

type Answer<Async extends boolean, T> = Async extends true ? Promise<T> : T

/** One storage engine under one prefix (1.6.1). Ttls are milliseconds; absent or 0 means for ever. */
export interface CacheDriver<Async extends boolean = true> {
  type: 'l1' | 'l2'
  /** The same engine and connection under `<prefix>:<namespace>`. */
  namespace(namespace: string): CacheDriver<Async>
  get(key: string): Answer<Async, string | undefined>
  /** Get and delete. */
  pull(key: string): Answer<Async, string | undefined>
  set(key: string, value: string, ttl?: number): Answer<Async, boolean>
  /** Removes every key under this driver's prefix and none beside it. */
  clear(): Answer<Async, void>
  /** Whether the key existed. */
  delete(key: string): Answer<Async, boolean>
  deleteMany(keys: string[]): Answer<Async, boolean>
  disconnect(): Answer<Async, void>
  /** Drops what has expired, where the engine does not do so by itself. */
  prune?(): Promise<void>
}

/**
 * An in-process engine that keeps what it is given by reference. Keys are relative to the
 * driver's root prefix, so that the hot path of the root store concatenates nothing.
 */
export interface ObjectStore {
  get(key: string): unknown
  /**
   * `text` is what a bounded engine weighs; absent when values are kept by reference.
   * @returns false when the engine refused the value (too large).
   */
  set(key: string, value: unknown, text: string | undefined): boolean
  delete(key: string): boolean
  /** Removes the keys that begin with `prefix`; `''` removes all. */
  clear(prefix: string): void
  readonly size: number
  values(): Iterable<unknown>
}

export interface L1CacheDriver extends CacheDriver<false> {
  type: 'l1'
  /** Milliseconds left; `Infinity` when kept for ever; 0 when missing; undefined when unknown. */
  getRemainingTtl(key: string): number | undefined
  /** Present when this engine keeps objects; without it the tier hands over text. */
  readonly objects?: ObjectStore
  /** `false`: values are kept and returned by reference. */
  readonly serialize?: boolean
  /** Upper bound, in ms, of what this engine keeps; undefined: none. */
  readonly maxTtl?: number | undefined
  /** The engine weighs text (`maxSize`, `maxEntrySize`), so text must stay text. */
  readonly weighs?: boolean
}

export interface L2CacheDriver extends CacheDriver<true> {
  type: 'l2'
  /** May processes agree on who computes a key? */
  readonly lease?: LeaseCapability | undefined
  /** Many keys in one round trip, answers in order. Without it the tier loops. */
  getMany?(keys: string[]): Promise<(string | undefined)[]>
  /**
   * Makes an entry stale in one step, keeping its ttl. Without it the tier reads, rewrites and
   * sets. `expiredAt` is epoch ms. Resolves whether the key existed.
   */
  expire?(key: string, expiredAt: number): Promise<boolean>
  /** Milliseconds the engine still keeps the key: Infinity for ever, 0 missing. */
  remainingTtl?(key: string): Promise<number>
}

/* ---------------------------------------------------------------- leases */

/** The right of one attempt to compute a key during one term. */
export interface Lease {
  readonly key: string
  /** The life of the key between two invalidations. Never used again. */
  readonly term: string
  /** One process computing once: `<random process id>:<counter>`. */
  readonly attempt: string
  /** Fingerprint of the stored text that was read before asking; `''` = a miss. */
  readonly seen: string
}

export interface AcquireOptions {
  attempt: string
  ttlMs: number
  /** `fingerprint()` of what was read. */
  seen: string
  /** Starts a new term; whatever was running is refused. */
  force?: boolean
  /** Ignore a remembered failure (a call without grace). */
  ignoreFailure?: boolean
  /** `createdAt` of the grant is at least this. */
  floor?: number
  /** The term this flight was held in, when it asks again. */
  heldIn?: string
}

export type Acquired =
  | { kind: 'granted'; lease: Lease; createdAt: number; fails: 0 | 1 }
  /** Somebody computes; `at` = coordinator's time of the answer. */
  | { kind: 'held'; term: string; leftMs: number; at: number }
  /** The term it was held in has ended with this. */
  | { kind: 'ended'; ending: Ending }
  /** A failure is remembered; try again in `leftMs`. */
  | { kind: 'failed'; error: SharedError; leftMs: number }
  /** The stored value is not the one that was seen: read again. */
  | { kind: 'changed' }

/** A failure as it travels between processes: no stack, no cause; message at most 200 bytes. */
export interface SharedError {
  name: string
  message: string
  code?: string
}

/** The ends of an attempt that store nothing. */
export type Ending =
  /** A value that no tier keeps: the envelope's text. */
  | { kind: 'value'; text: string }
  /** skip() */
  | { kind: 'nothing' }
  | { kind: 'failed'; error: SharedError }
  | { kind: 'abandoned' }

export interface SettleOptions {
  /** Other callers of this process wait for the same flight. */
  followers: boolean
  /** How long a failure is remembered fleet-wide (a stale value exists); 0 = not. */
  backoffMs: number
}

/** Something that happened to a key, in the driver's own order. */
export interface FeedEvent {
  kind:
    | 'stored' // S: a term ended with a stored value
    | 'value' // V: a term ended with a value nobody keeps
    | 'nothing' // N: skip
    | 'failed' // F
    | 'again' // A: the term goes on (or is over): whoever waits looks again
    | 'deleted' // D
    | 'expired' // E
    | 'put' // P: an explicit set
    | 'cleared' // C: everything under the prefix `key`
    | 'tagged' // T: the mark of a tag; `key` is the mark's key
    | 'gap' // the feed was interrupted: anything may have been missed (key is '')
  /** Relative to the driver's root prefix. */
  key: string
  /** `''` where no term is concerned. */
  term: string
  /** Sent by this very driver instance. */
  own: boolean
  /** Envelope text of 'stored' (when somebody waited and it was small) and 'value'. */
  text?: string
  error?: SharedError
  /** 'tagged': the time the mark carries. */
  time?: number
}

/** Buffers the events of one key from the moment it is opened. */
export interface Watch {
  /**
   * The next buffered or arriving event of the key ('gap' included). Resolves 'timeout' after
   * `timeoutMs` at the latest; a driver that cannot hear resolves earlier, at its polling pace.
   */
  next(term: string, timeoutMs: number): Promise<FeedEvent | 'timeout'>
  close(): void
}

export interface FeedListener {
  onEvent(event: FeedEvent): void
  /** Everything published before `until - maxStalenessMs` has been delivered (local epoch ms). */
  onVerified(until: number): void
}

export interface Feed {
  /** Called once, when the store is built. `store` is its name. */
  open(o: { store: string; maxStalenessMs: number; listener: FeedListener }): void
  /**
   * Catches up at once where that is possible (shared memory), delivering events before it
   * returns; true = up to date as of `now`. A feed over the network answers false.
   */
  look(now: number): boolean
}

export interface LeaseInfo {
  scope: 'process' | 'host' | 'fleet'
  wakeup: 'push' | 'poll'
  clock: 'server' | 'client'
  feed: boolean
}

/** A stored text as it reads when it is stale as of `staleAt` (epoch ms); undefined: it cannot be read. */
export type MakeStale = (text: string, staleAt: number) => string | undefined

/**
 * Distributed single flight, as one storage engine offers it. Keys are relative to the root
 * driver's prefix. Every method may reject: see `isOutage` for what a rejection means.
 */
export interface LeaseCapability {
  readonly leaseInfo: LeaseInfo
  fingerprint(text: string | undefined): string
  acquire(key: string, o: AcquireOptions): Promise<Acquired>
  fulfill(lease: Lease, text: string, o: { keepMs: number | null }): Promise<'stored' | 'refused' | 'foreign'>
  settle(lease: Lease, ending: Ending, o: SettleOptions): Promise<'again' | 'ended' | 'lost'>
  /** One call for all leases of a process. `hold` = keep others waiting (younger than `lockAge`). */
  renew(leases: readonly { lease: Lease; hold: boolean }[], ttlMs: number): Promise<boolean[]>
  /**
   * Resolves whether each key existed. Revokes leases first. `stale` makes a text stale (default:
   * 1.6.1's JSON envelope); a text of which it makes nothing is deleted.
   */
  invalidate(keys: readonly string[], how: 'delete' | 'expire', stale?: MakeStale): Promise<boolean[]>
  /** An explicit set: revokes the lease, stores, tells. `keepMs: null` = for ever. */
  put(key: string, text: string, keepMs: number | null): Promise<void>
  /** Writes tag marks; resolves the time they carry. */
  mark(tagKeys: readonly string[], text: (time: number) => string): Promise<number>
  /** Leases first, then values, under `prefix` (a namespace path; `''` = everything of the root). */
  clear(prefix: string): Promise<void>
  /** Registered synchronously: nothing that happens after the call is missed. */
  watch(key: string): Watch
  /** Local epoch ms + this = the coordinator's time. 0 where there is no server clock. */
  offset(): number
  /** true: the coordinator is away (connection, timeout, loading …); false: it answered, but no. */
  isOutage(error: unknown): boolean
  readonly feed?: Feed | undefined
}

/* ------------------------------------------------------------- transport */

export const CacheBusMessageType = {
  Set: 'set',
  Clear: 'clear',
  Delete: 'delete',
  Expire: 'expire',
} as const
export type CacheBusMessageType = (typeof CacheBusMessageType)[keyof typeof CacheBusMessageType]

/** What travels between processes (1.6.1). `keys` are relative to `namespace`. */
export interface CacheBusMessage {
  type: CacheBusMessageType
  keys: string[]
  namespace: string
}

/** Moves messages between processes (1.6.1's bus driver: the transport of `@boringnode/bus`). */
export interface Transport {
  /** Called once, first: 24 single-byte characters that name the sender. */
  setId(id: string): this
  onReconnect(callback: () => void): void
  publish(channel: string, message: Record<string, unknown>): Promise<void>
  /** `handler` gets the messages of others, never our own. */
  subscribe<T extends Record<string, unknown>>(channel: string, handler: (payload: T, busId?: string) => void): Promise<void>
  unsubscribe(channel: string): Promise<void>
  disconnect(): Promise<void>
}

/** Sees the whole envelope, once per write and at most once per value handed out (1.6.1). */
export interface CacheSerializer {
  serialize(value: unknown): string
  deserialize(text: string): any
}

/** Time, asked when needed; give your own in tests. Milliseconds. */
export interface Clock {
  now(): number
  setTimeout(callback: () => void, delay: number): unknown
  clearTimeout(handle: unknown): void
}

/** pino's shape (1.6.1). */
export interface Logger {
  trace(...args: any[]): void
  debug(...args: any[]): void
  info(...args: any[]): void
  warn(...args: any[]): void
  error(...args: any[]): void
  fatal(...args: any[]): void
  child(bindings: any): Logger
}
