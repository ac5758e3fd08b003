import type { CacheBusMessage, Logger } from '../base/contract.js'
import type { Emitter } from '../base/options.js'
import { Stats } from '../base/stats.js'
import { EventHub } from './events.js'
import type { CacheEvents } from './events.js'
import { isTraced, traced } from './tracing.js'
import type { CacheOperationMessage } from './tracing.js'

type Tier = 'l1' | 'l2'

/** What a traced read tells about itself; a part of its tracing message. */
export type ReadTrace = Pick<CacheOperationMessage, 'hit' | 'tier' | 'graced'>

/**
 * The only thing that flows report to. Silent means free: without logger, listeners and tracers
 * `isActive` is false, and on the hit path nothing else is looked at. No listener can break a read.
 */
export class Observer {
  readonly stats = new Stats()
  readonly log: Logger | undefined
  readonly store: string
  /** The store's prefix; tracing keys begin with it. */
  readonly #prefix: string
  readonly #emitter: Emitter
  readonly #hub: EventHub | undefined

  constructor(o: { store: string; prefix: string; emitter: Emitter; logger: Logger | undefined }) {
    this.store = o.store
    this.log = o.logger
    this.#prefix = o.prefix
    this.#emitter = o.emitter
    this.#hub = o.emitter instanceof EventHub ? o.emitter : undefined
  }

  get isActive(): boolean {
    return this.log !== undefined || this.#hub?.isHeard !== false || isTraced()
  }

  hit(key: string, value: unknown, tier: Tier, graced: boolean, trace?: ReadTrace): void {
    if (graced) this.stats.stale++
    else this.stats.hits++
    this.tell(key, value, tier, graced, trace)
  }

  /** Answered by a computation that somebody else had started. */
  coalesced(key: string, value: unknown, tier: Tier, trace?: ReadTrace): void {
    this.stats.coalesced++
    this.tell(key, value, tier, false, trace)
  }

  /** Everything of a hit but its count: that one the hit path has done itself. */
  tell(key: string, value: unknown, tier: Tier, graced: boolean, trace?: ReadTrace): void {
    if (trace !== undefined) Object.assign(trace, { hit: true, tier, graced })
    this.log?.debug?.({ key, layer: tier, graced }, graced ? 'served stale' : 'hit')
    this.#emit('cache:hit', { key, value, store: this.store, layer: tier, graced })
  }

  miss(key: string, trace?: ReadTrace): void {
    this.stats.misses++
    if (trace !== undefined) trace.hit = false
    this.log?.debug?.({ key }, 'miss')
    this.#emit('cache:miss', { key, store: this.store })
  }

  /** A read that rejects: nothing was served. */
  readFailed(key: string, isMiss: boolean): void {
    this.stats.errors++
    if (isMiss) this.#emit('cache:miss', { key, store: this.store })
  }

  written(key: string, value: unknown): void {
    this.#emit('cache:written', { key, value, store: this.store })
  }

  deleted(key: string): void {
    this.#emit('cache:deleted', { key, store: this.store })
  }

  expired(key: string): void {
    this.#emit('cache:expire', { key, store: this.store })
  }

  cleared(): void {
    this.#emit('cache:cleared', { store: this.store })
  }

  published({ keys, type }: CacheBusMessage): void {
    this.#emit('bus:message:published', { message: { keys, type } })
  }

  received({ keys, type }: CacheBusMessage): void {
    this.log?.trace?.({ keys, type }, 'bus message received')
    this.#emit('bus:message:received', { message: { keys, type } })
  }

  stampedePrevented(key: string, waiters: number): void {
    this.stats.flightsWithWaiters++
    this.#emit('stampede:prevented', { key, store: this.store, waiters })
  }

  tookOver(key: string): void {
    this.log?.warn?.({ key }, 'took over a computation whose process stopped or was slow')
    this.#emit('lease:takeover', { key, store: this.store })
  }

  refused(key: string, reason: 'refused' | 'foreign', wasInvalidated: boolean): void {
    if (!wasInvalidated) this.stats.duplicates++
    this.#emit('lease:refused', { key, store: this.store, reason })
  }

  /** A verb, or a part of one that 1.6.1 traces: one message per run. */
  trace<T>(operation: CacheOperationMessage['operation'], key: string | undefined, run: (trace?: ReadTrace) => Promise<T>): Promise<T> {
    if (!isTraced()) return run()
    const message: CacheOperationMessage = { operation, store: this.store }
    if (key !== undefined) message.key = this.#traceKey(key)
    return traced(message, () => run(message))
  }

  traceMany<T>(operation: 'deleteMany', keys: readonly string[], run: () => Promise<T>): Promise<T> {
    if (!isTraced()) return run()
    return traced({ operation, keys: keys.map((key) => this.#traceKey(key)), store: this.store }, run)
  }

  /** A failure that nobody is told of otherwise. */
  trouble(message: string, error: unknown, about: Record<string, unknown> = {}): void {
    this.log?.error?.({ err: error, ...about }, message)
  }

  #traceKey(path: string): string {
    return this.#prefix ? `${this.#prefix}:${path}` : path
  }

  #emit<Name extends keyof CacheEvents>(event: Name, payload: CacheEvents[Name]): void {
    const counting = this.#emitter as { listenerCount?: (event: string) => number }
    try {
      if (typeof counting.listenerCount === 'function' && counting.listenerCount(event) === 0) return
      const emitted = this.#emitter.emit(event, payload) as unknown
      // An emitter may be asynchronous (Emittery): its rejection is a listener's.
      if (emitted instanceof Promise) emitted.catch((error) => this.trouble('an event listener failed', error, { event }))
    } catch (error) {
      this.trouble('an event listener failed', error, { event })
    }
  }
}
