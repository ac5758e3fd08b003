import { LRUCache } from 'lru-cache'
import { parseBytes, utf8Length } from '../../base/bytes.js'
import type { Bytes } from '../../base/bytes.js'
import { systemClock } from '../../base/clock.js'
import type { Clock, L1CacheDriver, ObjectStore } from '../../base/contract.js'
import type { Duration } from '../../base/duration.js'
import { E_INVALID_OPTION, InvalidArgumentsException } from '../../base/errors.js'
import { clean, scopeOf, under } from '../../base/keys.js'
import { lifetime } from '../../base/settings.js'
import { BaseDriver } from '../base-driver.js'

export interface MemoryConfig {
  /** Most entries kept. Default 1000. */
  maxItems?: number
  /** Most bytes of text kept, keys not counted. Default: no bound. */
  maxSize?: Bytes
  /** Largest text of one entry; a larger one is not kept here. Default: no bound. */
  maxEntrySize?: Bytes
  /** `false`: values are kept and handed out by reference. Default `true`: each reader owns a copy. */
  serialize?: boolean
  /** Longest time an entry is kept here, whatever its ttl. Default: no bound. */
  maxTtl?: Duration
  prefix?: string
}

/** L1 in this process's memory: least recently used entries leave first. */
export function memoryDriver(options: MemoryConfig = {}) {
  return { options, factory: (config: MemoryConfig & { clock?: Clock }): L1CacheDriver => new MemoryDriver(config) }
}

/** An L1 engine. Its views share one store; text of theirs lies beside the objects of the cache. */
export class MemoryDriver extends BaseDriver implements L1CacheDriver {
  readonly type = 'l1'
  readonly serialize: boolean
  readonly maxTtl: number | undefined
  readonly weighs: boolean
  readonly #root: MemoryObjects
  readonly #clock: Clock
  /** Namespace path of this view. */
  readonly #path: string

  constructor(config: MemoryConfig & { clock?: Clock } = {}, root?: MemoryObjects, path = '') {
    super(config)
    this.serialize = config.serialize ?? true
    this.weighs = config.maxSize !== undefined || config.maxEntrySize !== undefined
    if (!this.serialize && this.weighs) {
      throw new InvalidArgumentsException('Cannot use maxSize or maxEntrySize when serialize is set to `false`')
    }
    this.maxTtl = config.maxTtl === undefined ? undefined : lifetime(config.maxTtl, 'maxTtl')
    this.#clock = config.clock ?? systemClock
    this.#root = root ?? new MemoryObjects(config)
    this.#path = path
  }

  get objects(): ObjectStore {
    return this.#root
  }

  namespace(namespace: string): MemoryDriver {
    const path = clean(under(this.#path, namespace))
    return new MemoryDriver({ ...this.config, prefix: this.createNamespacePrefix(namespace) }, this.#root, path)
  }

  get(key: string): string | undefined {
    const kept = this.#find(key)
    return kept?.text
  }

  pull(key: string): string | undefined {
    const text = this.get(key)
    this.delete(key)
    return text
  }

  set(key: string, text: string, ttl?: number): boolean {
    const life = Math.min(ttl || Infinity, this.maxTtl ?? Infinity)
    return this.#root.set(under(this.#path, key), { text, deadAt: this.#clock.now() + life }, text)
  }

  delete(key: string): boolean {
    return this.#find(key) !== undefined && this.#root.delete(under(this.#path, key))
  }

  deleteMany(keys: string[]): boolean {
    for (const key of keys) this.delete(key)
    return true
  }

  clear(): void {
    this.#root.clear(scopeOf(this.#path))
  }

  getRemainingTtl(key: string): number {
    const kept = this.#find(key)
    return kept === undefined ? 0 : kept.deadAt - this.#clock.now()
  }

  disconnect(): void {}

  #find(key: string): { text: string; deadAt: number } | undefined {
    const path = under(this.#path, key)
    const kept = this.#root.get(path) as { text: string; deadAt: number } | undefined
    if (kept === undefined || this.#clock.now() < kept.deadAt) return kept
    this.#root.delete(path)
    return undefined
  }
}

/** Given to each read, because the engine would make an empty one: a third of what a hit allocates. */
const NO_OPTIONS = {}

/** The store behind all views of one driver. Expiry is its users' business: they see it in one look. */
class MemoryObjects implements ObjectStore {
  readonly #lru: LRUCache<string, object>
  readonly #maxEntrySize: number
  readonly #weighs: boolean

  constructor(config: MemoryConfig) {
    const max = config.maxItems ?? 1000
    if (!Number.isInteger(max) || max < 1) throw new E_INVALID_OPTION('maxItems', max, 'a whole number from 1')
    const maxSize = config.maxSize === undefined ? undefined : parseBytes(config.maxSize, 'maxSize')
    this.#maxEntrySize = config.maxEntrySize === undefined ? Infinity : parseBytes(config.maxEntrySize, 'maxEntrySize')
    this.#weighs = maxSize !== undefined || this.#maxEntrySize < Infinity
    this.#lru = new LRUCache(maxSize === undefined ? { max } : { max, maxSize })
  }

  get(key: string): unknown {
    return this.#lru.get(key, NO_OPTIONS)
  }

  set(key: string, value: object, text: string | undefined): boolean {
    if (!this.#weighs) {
      this.#lru.set(key, value)
      return true
    }
    const size = utf8Length(text ?? '') || 1
    if (size <= this.#maxEntrySize && this.#lru.maxSize === 0) this.#lru.set(key, value)
    else if (size <= this.#maxEntrySize) this.#lru.set(key, value, { size })
    else this.#lru.delete(key)
    return this.#lru.has(key)
  }

  delete(key: string): boolean {
    return this.#lru.delete(key)
  }

  clear(prefix: string): void {
    if (prefix === '') return this.#lru.clear()
    for (const key of [...this.#lru.keys()]) if (key.startsWith(prefix)) this.#lru.delete(key)
  }

  get size(): number {
    return this.#lru.size
  }

  values(): Iterable<object> {
    return this.#lru.values()
  }
}
