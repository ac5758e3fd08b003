import { systemClock } from '../base/clock.js'
import { CacheBusMessageType } from '../base/contract.js'
import type { CacheBusMessage, L1CacheDriver, L2CacheDriver, Transport } from '../base/contract.js'
import { Codec } from '../base/entry.js'
import { E_INVALID_OPTION, InvalidArgumentsException } from '../base/errors.js'
import { clean, scopeOf } from '../base/keys.js'
import { parseBytes } from '../base/bytes.js'
import { parseDuration } from '../base/duration.js'
import type { Duration } from '../base/duration.js'
import type { Emitter, LeaseOptions, RawBentoCacheOptions, RawStoreOptions } from '../base/options.js'
import { Settings, span } from '../base/settings.js'
import { Bus } from '../bus/bus.js'
import { followFeed, newsOfMessage } from '../bus/coherence.js'
import type { RetryQueueOptions } from '../bus/retry-queue.js'
import { Flights } from '../flight/flights.js'
import { Leases } from '../flight/lease.js'
import { PendingKeys } from '../flight/pending.js'
import { Recursion } from '../flight/recursion.js'
import { heard } from '../flow/invalidate.js'
import { TAG_PREFIX } from '../flow/store.js'
import type { Store } from '../flow/store.js'
import { childOf } from '../observe/log.js'
import { Observer } from '../observe/observer.js'
import { Guard, looksLikeOutage } from '../tier/guard.js'
import { Local } from '../tier/local.js'
import { Remote } from '../tier/remote.js'
import { TagMarks } from '../tier/tag-marks.js'
import { Cache } from './cache.js'
import { UnknownOptions } from './unknown-options.js'

/** A driver to be: its options, and what makes it of them (1.6.1). */
export interface CreateDriverResult<T extends L1CacheDriver | L2CacheDriver> {
  options: Record<string, any>
  factory: (config: any) => T
}

/** Options of a bus driver (1.6.1). */
export interface BusOptions {
  retryQueue?: RetryQueueOptions
}

export interface CreateBusDriverResult {
  options: BusOptions
  factory: (config: any) => Transport
}

/** What `bentostore()` has been told. */
export interface StoreDescription {
  options: RawStoreOptions
  l1: CreateDriverResult<L1CacheDriver> | undefined
  l2: CreateDriverResult<L2CacheDriver> | undefined
  bus: CreateBusDriverResult | undefined
}

/** Options of the `BentoCache` a store belongs to. */
export type Globals = Omit<RawBentoCacheOptions, 'emitter'> & { emitter: Emitter }

const LEASE_TTL = 3_000
const LOSS_GRACE = 1_000
const MAX_L1_STALENESS = 2_000

/**
 * description → store → cache. The only place that makes tiers, flights, leases, bus and observer,
 * and the only one that knows which of them a store has.
 */
export function wire(name: string, description: StoreDescription, globals: Globals): Cache {
  const options: RawStoreOptions & Partial<Globals> = { ...globals, ...withoutUndefined(description.options) }
  const prefix = prefixOf(description.options, globals)
  const clock = globals.clock ?? systemClock
  const logger = childOf(globals.logger, { cache: name })
  const defaults = new Settings().overlay(globals).overlay(description.options)
  const wrap = globals.internalOperationWrapper
  const config = { prefix, logger: globals.logger, clock }

  const leaseOptions = leaseOptionsOf(options.leases)
  const leaseTtl = durationOr(leaseOptions.ttl, 'leases.ttl', LEASE_TTL)
  const l1 = description.l1?.factory({ ...config, ...description.l1.options })
  const l2 = description.l2?.factory({ ...config, ...inlineOf(leaseOptions), ...description.l2.options })
  const capability = l2?.lease
  const feed = capability?.feed
  const maxL1Staleness = stalenessOf(options.maxL1Staleness, feed !== undefined)

  const observer = new Observer({ store: name, prefix, emitter: globals.emitter, logger })
  const serializer = options.serializer
  const codec = new Codec({ serializer, byReference: l1?.serialize === false, keepsText: l1?.weighs ?? false })
  const l2Log = childOf(logger, { layer: 'l2' })

  const guard = new Guard({
    clock,
    wrap,
    breakerDuration: breakerOf(options.l2CircuitBreakerDuration),
    isOutage: (error) => (capability === undefined ? looksLikeOutage(error) : capability.isOutage(error)),
    probe: () => probe(l2!),
    report: (what, error) => {
      if (what === 'failed') l2Log?.error?.({ err: error }, 'an L2 operation failed')
      else if (what === 'down') l2Log?.error?.({}, 'L2 is away: left alone until it answers again')
      else if (what === 'up') l2Log?.info?.({}, 'L2 answers again')
      else l2Log?.debug?.({}, 'an L2 operation was skipped: L2 is away')
    },
  })

  const leases =
    capability === undefined || options.leases === false
      ? undefined
      : new Leases({
          capability,
          clock,
          ttl: leaseTtl,
          lockAge: defaults.lockAge,
          stats: observer.stats,
          ask: (operation) => guard.run(operation, defaults.l2Timeout),
          downSince: () => guard.downSince,
          warn: (message, error) => logger?.warn?.({ err: error }, message),
        })

  const store: Mutable<Store> = {
    name,
    prefix,
    clock,
    codec,
    observer,
    flights: new Flights(),
    pending: new PendingKeys(),
    recursion: new Recursion(),
    tagMarks: new TagMarks(l2 === undefined),
    local: l1 && new Local(l1, codec, clock),
    remote: l2 && new Remote({ driver: l2, codec, serializer, guard, clock, log: l2Log, grace: defaults.grace }),
    leases,
    bus: undefined,
    lossGrace: durationOr(leaseOptions.lossGrace, 'leases.lossGrace', LOSS_GRACE),
    servesUnverified: servesUnverified(options.onUnverified),
    maxL1Staleness: feed === undefined ? Infinity : maxL1Staleness,
    waitUntil: globals.waitUntil,
    calm: new Map(),
    disconnecting: undefined,
    verifiedUntil: feed === undefined ? Infinity : 0,
    connecting: undefined,
    look: (now) => feed?.look(now) ?? false,
  }

  if (feed !== undefined) {
    let connected = () => {}
    store.connecting = new Promise((resolve) => (connected = resolve))
    followFeed(feed, {
      store: name,
      maxStalenessMs: maxL1Staleness,
      onNews: (news) => heard(store, news),
      onVerified: (until) => {
        store.verifiedUntil = until
        store.connecting = undefined
        connected()
      },
    })
  }
  if (description.bus !== undefined) {
    if (capability?.leaseInfo.scope === 'host') {
      throw new InvalidArgumentsException('Cannot use a bus beside the host tier: it has nothing to add')
    }
    store.bus = new Bus({
      store: name,
      transport: description.bus.factory(description.bus.options),
      retryQueue: description.bus.options.retryQueue,
      clock,
      observer,
      wrap,
      timeout: defaults.l2Timeout,
      hasFeed: feed !== undefined,
      onMessage: (message, isFed) => obey(store, message, isFed && clock.now() < store.verifiedUntil),
      onGap: () => feed === undefined && heard(store, { kind: 'gap' }),
    })
  }
  const unknown = new UnknownOptions(logger)
  unknown.ofStore(globals)
  unknown.ofStore(description.options)
  return new Cache(store, defaults, unknown)
}

/** A message of the bus; `isTold`: the feed has said the same, in better order. */
function obey(store: Store, message: CacheBusMessage, isTold: boolean): void {
  if (isTold) return
  for (const news of newsOfMessage(message, store.prefix, TAG_PREFIX)) {
    heard(store, news)
    // A set shows in L2, where our lease will find it; nothing shows what was removed.
    if (store.leases === undefined || message.type === CacheBusMessageType.Set) continue
    // A process without our scripts has revoked no lease. Schedule: it deletes, we store what we had
    // read before. Deleting again, with revocation, fences us too.
    const keys = news.kind === 'clear' ? store.leases.concernedBelow(scopeOf(news.path)) : 'key' in news && store.leases.concerns(news.key) ? [news.key] : []
    if (keys.length > 0) void store.remote?.delete(keys, { wait: 2_000, outage: 2_000 })
  }
}

/** It must fail as long as the engine cannot serve: a lease, where there are leases; else a read. */
function probe(driver: L2CacheDriver): Promise<unknown> {
  const key = '___bc:probe'
  if (driver.lease === undefined) return driver.get(key)
  return driver.lease.acquire(key, { attempt: `probe:${Math.random()}`, ttlMs: 100, seen: '', force: true })
}

function prefixOf(own: RawStoreOptions, globals: RawStoreOptions): string {
  if ('prefix' in own) return clean(own.prefix)
  if ('prefix' in globals) return clean(globals.prefix)
  return 'bentocache'
}

function leaseOptionsOf(leases: unknown): LeaseOptions {
  if (leases === undefined || typeof leases === 'boolean') return {}
  if (typeof leases === 'object' && leases !== null) return leases
  throw new E_INVALID_OPTION('leases', leases, 'true, false, or { ttl, lossGrace, inline }')
}

function inlineOf({ inline }: LeaseOptions): { inlineBytes?: number } {
  return inline === undefined ? {} : { inlineBytes: parseBytes(inline, 'leases.inline') }
}

function stalenessOf(duration: Duration | undefined, canVerify: boolean): number {
  if (duration === undefined) return MAX_L1_STALENESS
  if (!canVerify) {
    throw new E_INVALID_OPTION('maxL1Staleness', duration, 'nothing here: this store has no L2 with a feed that could verify it')
  }
  return durationOr(duration, 'maxL1Staleness', MAX_L1_STALENESS)
}

function breakerOf(duration: Duration | undefined): number | undefined {
  if (duration === undefined || duration === null) return undefined
  const ms = parseDuration(duration, 'l2CircuitBreakerDuration')
  if (ms < 0) throw new InvalidArgumentsException(`l2CircuitBreakerDuration must not be negative, received ${duration}`)
  return ms
}

function durationOr(duration: Duration | undefined, option: string, otherwise: number): number {
  return duration === undefined ? otherwise : span(duration, option, Infinity)
}

function servesUnverified(value: unknown): boolean {
  if (value !== undefined && value !== 'serve' && value !== 'refuse') {
    throw new E_INVALID_OPTION('onUnverified', value, "'serve' or 'refuse'")
  }
  return value !== 'refuse'
}

function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }
