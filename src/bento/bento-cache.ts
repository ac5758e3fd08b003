import { E_INVALID_OPTION } from '../base/errors.js'
import type { Stats } from '../base/stats.js'
import { Settings } from '../base/settings.js'
import type { ClearOptions, Emitter, RawBentoCacheOptions } from '../base/options.js'
import type { Cache } from '../cache/cache.js'
import type { CacheProvider } from '../cache/provider.js'
import { wire } from '../cache/wire.js'
import type { Globals } from '../cache/wire.js'
import { EventHub } from '../observe/events.js'
import type { CacheEvents } from '../observe/events.js'
import type { BentoStore } from './bento-store.js'

/** Extends a `BentoCache` through its public surface. */
export interface BentoCachePlugin {
  register(bento: BentoCache<any>): void
}

/** Every verb of a store, spoken to the default one. */
export interface BentoCache<KnownCaches extends Record<string, BentoStore>> extends CacheProvider {}

/**
 * Named stores, one of them the default. Every verb of a store is here too, and goes to the
 * default one; drivers are created when their store is first used.
 */
export class BentoCache<KnownCaches extends Record<string, BentoStore>> {
  readonly #stores: KnownCaches
  readonly #default: keyof KnownCaches
  readonly #globals: Globals
  readonly #open = new Map<keyof KnownCaches, Cache>()
  /** The default store, once it was used: verbs go straight to it. */
  #main: Cache | undefined

  /**
   * @throws E_INVALID_OPTION, and whatever a plugin throws
   */
  constructor(config: RawBentoCacheOptions & { default: keyof KnownCaches; stores: KnownCaches; plugins?: BentoCachePlugin[] }) {
    const { stores, default: defaultStore, plugins, ...options } = config
    if (typeof stores !== 'object' || stores === null) {
      throw new E_INVALID_OPTION('stores', stores, 'an object of bentostore() descriptions')
    }
    for (const [name, store] of Object.entries(stores)) {
      if (typeof store?.entry !== 'object') throw new E_INVALID_OPTION(`stores.${name}`, store, 'what bentostore() returns')
    }
    new Settings().overlay(options) // a bad option is told here, not at the first call
    this.#stores = stores
    this.#default = defaultStore
    this.#globals = { ...options, emitter: options.emitter ?? new EventHub() }
    options.logger?.trace?.({ stores: Object.keys(stores) }, 'bentocache created')
    for (const plugin of plugins ?? []) plugin.register(this)
  }

  get defaultStoreName(): string {
    return String(this.#default)
  }

  get name(): string {
    return this.use().name
  }

  /**
   * The store of that name; always the same object.
   * @throws Error when there is no such store, and whatever its drivers throw at creation
   */
  use<Name extends keyof KnownCaches>(name?: Name): CacheProvider {
    if (name === undefined && this.#main !== undefined) return this.#main
    const wanted = name ?? this.#default
    if (wanted === undefined) throw new Error('No cache driver selected')
    let cache = this.#open.get(wanted)
    if (cache === undefined) {
      const description = Object.hasOwn(this.#stores, wanted) ? this.#stores[wanted] : undefined
      if (description === undefined) {
        throw new E_INVALID_OPTION('store', wanted, `one of ${Object.keys(this.#stores).map((known) => `"${known}"`).join(', ')}`)
      }
      cache = wire(String(wanted), description.entry, this.#globals)
      this.#open.set(wanted, cache)
    }
    if (wanted === this.#default) this.#main = cache
    return cache
  }

  on<Event extends keyof CacheEvents>(event: Event, callback: (payload: CacheEvents[Event]) => void): this {
    this.#emitter.on(event, callback)
    return this
  }

  once<Event extends keyof CacheEvents>(event: Event, callback: (payload: CacheEvents[Event]) => void): this {
    this.#emitter.once(event, callback)
    return this
  }

  off<Event extends keyof CacheEvents>(event: Event, callback: (payload: CacheEvents[Event]) => void): this {
    this.#emitter.off(event, callback)
    return this
  }

  /** Counters of the default store since it was built. */
  stats(): Stats {
    return this.use().stats()
  }

  /** Clears every store. */
  async clearAll(options?: ClearOptions): Promise<void> {
    await Promise.all(Object.keys(this.#stores).map((name) => this.use(name).clear(options)))
  }

  /** Disconnects the stores that were used; creates none. */
  async disconnectAll(): Promise<void> {
    await Promise.all([...this.#open.values()].map((cache) => cache.disconnect()))
  }

  namespace(namespace: string): CacheProvider {
    return this.use().namespace(namespace)
  }

  get #emitter(): Emitter {
    return this.#globals.emitter
  }
}

const VERBS = [
  'get', 'set', 'setForever', 'getOrSet', 'getOrSetForever', 'has', 'missing', 'pull',
  'delete', 'deleteMany', 'deleteByTag', 'expire', 'clear', 'prune', 'disconnect',
] as const

for (const verb of VERBS) {
  const speak = function (this: BentoCache<any>, a: unknown, b: unknown, c: unknown) {
    try {
      const cache = this.use() as unknown as Record<string, (a: unknown, b: unknown, c: unknown) => Promise<unknown>>
      return cache[verb]!(a, b, c)
    } catch (error) {
      return Promise.reject(error as Error) // a store that cannot be built: verbs reject, they never throw
    }
  }
  Object.defineProperty(speak, 'name', { value: verb })
  Object.defineProperty(BentoCache.prototype, verb, { value: speak, writable: true, configurable: true })
}
