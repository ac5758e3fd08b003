import type { Bytes } from './bytes.js'
import type { CacheSerializer, Clock, Logger } from './contract.js'
import type { Duration } from './duration.js'
import type { E_FACTORY_ERROR } from './errors.js'

export type { Bytes, Duration }

/** A default: a value, a promise of one, or a function that gives either. */
export type Factory<T> = T | (() => T) | Promise<T> | (() => Promise<T>)

/** Computes a value that is not cached. */
export type GetSetFactory<T> = (ctx: GetSetFactoryContext) => T | Promise<T>

/** What a factory may do besides returning a value. All members can be destructured. */
export interface GetSetFactoryContext {
  /** Return its result: nothing is stored, and everybody who waits gets `undefined`. */
  skip(): undefined
  /** Fails the factory with `Error(message)`. */
  fail(message?: string): void
  /** @deprecated use `setOptions({ ttl })` */
  setTtl(ttl: Duration): void
  /** Adds tags to those of the call. */
  setTags(tags: string[]): void
  /** Changes what is done with the result; what is left out stays as the call has it. */
  setOptions(options: {
    ttl?: Duration
    grace?: false | Duration
    graceBackoff?: Duration
    tags?: string[]
    skipL2Write?: boolean
    skipBusNotify?: boolean
  }): void
  /** The stale value that is known, if there is one. */
  readonly gracedEntry: { value: any } | undefined
}

/** Options that a store, a call, or all of them may set. Durations: ms or text. */
export interface RawCommonOptions {
  /** How long a value is fresh. `null` = for ever, `0` = not kept. Default 30 min. */
  ttl?: Duration
  /**
   * How long, from its write, a value may be served stale when the factory fails or is slow.
   * Default `false`: never.
   */
  grace?: false | Duration
  /** How long a stale value counts as fresh after a failed refresh. Default 10 s. */
  graceBackoff?: Duration
  /**
   * Soft timeout: how long a caller waits for the factory when a stale value is there.
   * Default `0`: the stale value at once, refreshed in the background. `null` = wait.
   */
  timeout?: Duration
  /** Hard timeout: how long a caller waits at all; then `E_FACTORY_HARD_TIMEOUT`. Default none. */
  hardTimeout?: Duration
  /** How long a caller waits for another's factory; then stale or `E_LOCK_TIMEOUT`. Default none. */
  lockTimeout?: Duration
  /** A flight older than this takes no newcomers: the next caller computes anew. Default 30 s. */
  lockAge?: Duration
  /**
   * Bound of each single L2 operation a caller waits for; exceeding it is an L2 error.
   * Default 1 s, 100 ms while L1 holds a copy; `null` = none.
   */
  l2Timeout?: Duration
  /** Compute even if a fresh value is cached. Honoured on calls only. */
  forceFresh?: boolean
  /** L2 failures are misses instead of `E_L2_CACHE_ERROR`. Default: true when there is an L1. */
  suppressL2Errors?: boolean
  /**
   * Whether a factory's failure is also everybody's who waits in other processes, after one
   * second chance. Default `'waiters'`; `'off'`: each process has its own second chance.
   */
  shareFailures?: 'waiters' | 'off'
  /** Called with each failure of a factory, before the caller is answered. */
  onFactoryError?: ((error: E_FACTORY_ERROR) => void) | undefined
}

/** Options of a store. */
export interface RawStoreOptions extends RawCommonOptions {
  /** What every key in storage begins with, before a colon. Default `'bentocache'`. */
  prefix?: string
  /** Leave L2 alone for so long after it failed. Default none. */
  l2CircuitBreakerDuration?: Duration
  /** One flight fleet-wide. On by default where the L2 driver can; `false` = this process alone. */
  leases?: boolean | LeaseOptions
  /** How old L1 may be before the feed has confirmed it. Default 2 s, where the feed can verify. */
  maxL1Staleness?: Duration
  /** What an unconfirmed L1 copy is worth when L2 cannot be asked. Default `'serve'`. */
  onUnverified?: 'serve' | 'refuse'
}

export interface LeaseOptions {
  /** A lease not renewed for so long is inherited by another process. Default 3 s. */
  ttl?: Duration
  /** How long a computation waits for the coordinator at the start of an outage. Default 1 s. */
  lossGrace?: Duration
  /** Up to this size a value travels to those who wait in the event itself. Default 8 kB. */
  inline?: Bytes
}

export type InternalOperationWrapper = <T>(operation: () => T) => T

export interface Emitter {
  on(event: string, callback: (...values: any[]) => void): void
  once(event: string, callback: (...values: any[]) => void): void
  off(event: string, callback: (...values: any[]) => void): void
  emit(event: string, ...values: any[]): void
}

/** Options of `new BentoCache`. */
export interface RawBentoCacheOptions extends RawStoreOptions {
  /** pino's shape. Default none. */
  logger?: Logger
  /** Carries the public events. Default: one of our own. */
  emitter?: Emitter
  /** Default JSON. Sees the whole envelope. */
  serializer?: CacheSerializer
  /** Wraps each L2 and bus operation, e.g. to suppress tracing in it. */
  internalOperationWrapper?: InternalOperationWrapper
  /** Time; give your own in tests. Default the machine's. */
  clock?: Clock
  /** Called with work that goes on after callers were answered (serverless platforms). */
  waitUntil?: (work: Promise<unknown>) => void
}

type Settable = Pick<
  RawCommonOptions,
  'ttl' | 'grace' | 'graceBackoff' | 'timeout' | 'hardTimeout' | 'lockTimeout' | 'suppressL2Errors' | 'onFactoryError' | 'lockAge' | 'l2Timeout'
>

export interface SetCommonOptions extends Settable {
  tags?: string[]
  /** Keep the value in L1 only. */
  skipL2Write?: boolean
  /** Tell no other process. */
  skipBusNotify?: boolean
}

type Reading = Pick<RawCommonOptions, 'suppressL2Errors' | 'l2Timeout'>

export type GetOptions<T> = { key: string; defaultValue?: Factory<T> } & Reading & Pick<RawCommonOptions, 'grace' | 'graceBackoff'>
export type SetOptions = { key: string; value: any } & SetCommonOptions
export type GetOrSetOptions<T> = { key: string; factory: GetSetFactory<T>; forceFresh?: boolean } & SetCommonOptions &
  Pick<RawCommonOptions, 'shareFailures'>
export type GetOrSetForeverOptions<T> = { key: string; factory: GetSetFactory<T> } & Omit<SetCommonOptions, 'ttl'>
export type HasOptions = { key: string } & Reading
export type DeleteOptions = { key: string } & Reading
export type DeleteManyOptions = { keys: string[] } & Reading
export type DeleteByTagOptions = { tags: string[] } & Reading
export type ExpireOptions = { key: string } & Reading
export type ClearOptions = Reading
