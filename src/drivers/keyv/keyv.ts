import { systemClock } from '../../base/clock.js'
import type { Clock, L2CacheDriver, Logger } from '../../base/contract.js'
import type { Duration } from '../../base/duration.js'
import { BaseDriver } from '../base-driver.js'
import { pruneEvery } from '../prune-every.js'
import { frame, unframe } from './frame.js'
import { checkConnection, openShelf } from './shelf.js'
import type { KeyvConnection, Shelf } from './shelf.js'

export type { KeyvConnection } from './shelf.js'

export interface KeyvConfig {
  /**
   * A Keyv (5 or 6), a storage adapter of Keyv or a Map, recognised by its shape and never closed
   * here; or a function that makes one when it is first needed, which is then closed here.
   */
  connection: KeyvConnection | (() => KeyvConnection | Promise<KeyvConnection>)
  /**
   * Nothing but this cache is in the store. Default `false`. Needed where a store cannot list its
   * keys (no `iterator`): every `clear`, also of a namespace, then empties the store.
   */
  exclusive?: boolean | undefined
  /** How often expired entries are removed that nobody asked for again. Default `false`: never. */
  pruneInterval?: Duration | false | undefined
  /** In front of every key. Default: the prefix of the store, `bentocache`. */
  prefix?: string | undefined
  logger?: Logger | undefined
  clock?: Clock | undefined
}

/**
 * Keeps entries in whatever Keyv has a storage adapter for. Goes past Keyv to the adapter: neither
 * Keyv's serialization, compression and hooks nor its default ttl apply.
 * @throws E_INVALID_OPTION
 */
export function keyvDriver(config: KeyvConfig) {
  checkConnection(config?.connection, config?.exclusive)
  return {
    options: config as Record<string, any>,
    factory: (options: any): KeyvDriver => new KeyvDriver(options),
  }
}

/** What a driver and its namespaces have in common. */
interface Root {
  shelf: Shelf
  /** Pulls on their way, by name: of several one gets the value. */
  pulls: Map<string, Promise<unknown>>
  disconnect(): Promise<void>
}

/** One prefix of a Keyv store. Ttls are rounded up to whole milliseconds, and hold in stores that know none. */
export class KeyvDriver extends BaseDriver implements L2CacheDriver {
  readonly type = 'l2' as const
  readonly #root: Root
  readonly #clock: Clock

  /** @throws E_INVALID_OPTION */
  constructor(config: KeyvConfig)
  /** @internal a namespace of another driver */
  constructor(config: KeyvConfig, root: Root)
  constructor(config: KeyvConfig, root?: Root) {
    super(config)
    this.#clock = config.clock ?? systemClock
    this.#root = root ?? this.#openRoot(config)
  }

  namespace(namespace: string): KeyvDriver {
    return new KeyvDriver({ ...(this.config as KeyvConfig), prefix: this.createNamespacePrefix(namespace) }, this.#root)
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.#find(key))?.text
  }

  /** In one round trip, where the adapter has one. */
  async getMany(keys: string[]): Promise<(string | undefined)[]> {
    const stored = await this.#root.shelf.getMany(keys.map((key) => this.#name(key)))
    return stored.map((one) => this.#alive(one)?.text)
  }

  /** Within one process one of several that pull at the same time gets the value. */
  async pull(key: string): Promise<string | undefined> {
    const { pulls } = this.#root
    const name = this.#name(key)
    while (pulls.has(name)) await pulls.get(name)
    const pulled = this.#pull(key)
    pulls.set(name, pulled.then(nothing, nothing))
    try {
      return await pulled
    } finally {
      pulls.delete(name)
    }
  }

  set(key: string, value: string, ttl?: number): Promise<boolean> {
    const isBounded = ttl !== undefined && ttl > 0 && ttl < Infinity
    const ms = isBounded ? Math.ceil(ttl) : undefined
    const end = ms === undefined ? undefined : Math.ceil(this.#clock.now() + ms)
    return this.#root.shelf.set(this.#name(key), frame(value, end), ms)
  }

  /** Reads first: adapters count what has expired, or answer `true` whatever was there. */
  async delete(key: string): Promise<boolean> {
    const found = await this.#find(key)
    return (await this.#root.shelf.delete(this.#name(key))) && found !== undefined
  }

  async deleteMany(keys: string[]): Promise<boolean> {
    await this.#root.shelf.deleteMany(keys.map((key) => this.#name(key)))
    return true
  }

  /** Without any prefix: all that the Keyv shows, as in 1.6.1's other drivers. */
  clear(): Promise<void> {
    return this.#root.shelf.clear(this.prefix ? this.#name('') : '')
  }

  /** Milliseconds left; Infinity for ever, 0 missing. */
  async remainingTtl(key: string): Promise<number> {
    const found = await this.#find(key)
    return found === undefined ? 0 : found.end - this.#clock.now()
  }

  /** Does nothing where a store cannot list its keys. */
  async prune(): Promise<void> {
    const now = this.#clock.now()
    await this.#root.shelf.remove(this.prefix ? this.#name('') : '', (stored) => (unframe(stored)?.end ?? Infinity) <= now)
  }

  /** Also for all namespaces. Idempotent; settles within 2 s. */
  disconnect(): Promise<void> {
    return this.#root.disconnect()
  }

  async #pull(key: string): Promise<string | undefined> {
    const found = await this.#find(key)
    return found !== undefined && (await this.#root.shelf.delete(this.#name(key))) ? found.text : undefined
  }

  async #find(key: string): Promise<{ text: string; end: number } | undefined> {
    return this.#alive(await this.#root.shelf.get(this.#name(key)))
  }

  #alive(stored: unknown): { text: string; end: number } | undefined {
    const found = unframe(stored)
    return found !== undefined && found.end > this.#clock.now() ? found : undefined
  }

  /** Adapters part their own namespaces from keys by `::` and hide keys that contain it. */
  #name(key: string): string {
    return this.getItemKey(key).replace(/\\|:(?=:)/g, '$&\\')
  }

  #openRoot(config: KeyvConfig): Root {
    const shelf = openShelf(config.connection, config.exclusive)
    const { pruneInterval, logger } = config
    const stopPruning = pruneEvery(pruneInterval, { clock: this.#clock, logger, prune: () => this.prune() })
    let gone: Promise<void> | undefined
    const leave = () => {
      stopPruning()
      return shelf.close()
    }
    return { shelf, pulls: new Map(), disconnect: () => (gone ??= leave()) }
  }
}

function nothing(): void {}
