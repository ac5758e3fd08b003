import type { BentoCache } from '../../index.js'
import type { CacheProvider } from '../../types.js'

export interface KeyvStoreEntry {
  key: string
  value: any
  /** Keyv 5: milliseconds to live. */
  ttl?: number | undefined
  /** Keyv 6: epoch ms. */
  expires?: number | undefined
}

/**
 * A storage adapter for Keyv 5 and 6 that keeps its values in a cache: `new Keyv({ store:
 * keyvStore(bento) })`, one for each Keyv. With a namespace in Keyv, under that namespace of the
 * cache. What has no ttl is kept for ever; a stale entry is no entry, grace or not.
 */
export function keyvStore(cache: CacheProvider | BentoCache<any>): KeyvStore {
  return new KeyvStore(cache)
}

export class KeyvStore {
  /** Keyv 5 types ask for it. */
  readonly opts = { dialect: 'bentocache' }
  /** Set by Keyv. */
  namespace?: string | undefined
  readonly #cache: CacheProvider | BentoCache<any>
  readonly #listeners = new Set<(error: unknown) => void>()
  /** Then times are ends and not durations, and an answer is for each key. */
  #isKeyv6 = false

  constructor(cache: CacheProvider | BentoCache<any>) {
    this.#cache = cache
  }

  /** Keyv 6 asks for it before anything else, and Keyv 5 knows nothing of it. */
  get capabilities(): { expires: true } {
    this.#isKeyv6 = true
    return { expires: true }
  }

  async get(key: string): Promise<any> {
    try {
      return await this.#view.get({ key, grace: false })
    } catch (error) {
      // Keyv 5 keeps a rejection of this one to itself.
      if (!this.#isKeyv6) for (const listener of this.#listeners) listener(error)
      throw error
    }
  }

  getMany(keys: string[]): Promise<any[]> {
    const view = this.#view
    return Promise.all(keys.map((key) => view.get({ key, grace: false })))
  }

  /** `time`: milliseconds to live from Keyv 5, epoch ms from Keyv 6. */
  set(key: string, value: any, time?: number): Promise<boolean> {
    return this.#set(this.#isKeyv6 ? { key, value, expires: time } : { key, value, ttl: time })
  }

  /** Whether each was kept. Keyv 5 types want nothing here, which is not what Keyv 5 wants. */
  setMany(entries: KeyvStoreEntry[]): Promise<any> {
    return Promise.all(entries.map((entry) => this.#set(entry)))
  }

  delete(key: string): Promise<boolean> {
    return this.#view.delete({ key })
  }

  /** Whether each existed; for Keyv 5, whether all did. */
  async deleteMany(keys: string[]): Promise<any> {
    const existed = await Promise.all(keys.map((key) => this.delete(key)))
    return this.#isKeyv6 ? existed : existed.every(Boolean)
  }

  has(key: string): Promise<boolean> {
    return this.#view.has({ key })
  }

  hasMany(keys: string[]): Promise<boolean[]> {
    return Promise.all(keys.map((key) => this.has(key)))
  }

  /** Of Keyv's namespace, if it has one. */
  clear(): Promise<void> {
    return this.#view.clear()
  }

  /** Disconnects the store that was passed, which others may use as well. */
  disconnect(): Promise<void> {
    return this.#cache.disconnect()
  }

  /** 'error' is the only event. */
  on(event: string, listener: (error: unknown) => void): this {
    if (event === 'error') this.#listeners.add(listener)
    return this
  }

  #set({ key, value, ttl, expires }: KeyvStoreEntry): Promise<boolean> {
    const left = expires === undefined ? ttl : Math.max(0, expires - Date.now())
    return this.#view.set({ key, value, ttl: left ?? null })
  }

  get #view(): CacheProvider | BentoCache<any> {
    return this.namespace ? this.#cache.namespace(this.namespace) : this.#cache
  }
}
