import { checkKey, clean, under } from '../base/keys.js'
import { E_INVALID_OPTION } from '../base/errors.js'
import type {
  ClearOptions,
  DeleteByTagOptions,
  DeleteManyOptions,
  DeleteOptions,
  ExpireOptions,
  Factory,
  GetOptions,
  GetOrSetForeverOptions,
  GetOrSetOptions,
  GetSetFactory,
  HasOptions,
  RawCommonOptions,
  SetCommonOptions,
  SetOptions,
} from '../base/options.js'
import { LATE, within } from '../base/promises.js'
import type { Settings } from '../base/settings.js'
import type { Stats } from '../base/stats.js'
import { checkTags } from '../flight/factory.js'
import { Line, canFollow, getOrSet } from '../flow/get-or-set.js'
import * as invalidation from '../flow/invalidate.js'
import { get, has, pull, serveHit } from '../flow/lookup.js'
import { viewOf } from '../flow/store.js'
import type { Call, Reading, Store, View } from '../flow/store.js'
import { verdict } from '../flow/tags.js'
import { set } from '../flow/write.js'
import type { ReadTrace } from '../observe/observer.js'
import { isTraced } from '../observe/tracing.js'
import type { CacheProvider } from './provider.js'
import type { UnknownOptions } from './unknown-options.js'

type Without<T, Key extends keyof T> = Omit<T, Key>
type Raw = RawCommonOptions & { tags?: readonly string[]; skipL2Write?: boolean; skipBusNotify?: boolean }

/**
 * What a caller can say. Each verb takes an object, or positional arguments when its first one is
 * a string (an array for `deleteMany` and `deleteByTag`). Every verb rejects, none throws.
 */
export class Cache implements CacheProvider {
  /** The store's name. */
  readonly name: string
  readonly #store: Store
  readonly #view: View
  readonly #defaults: Settings
  readonly #forever: Settings
  readonly #unknown: UnknownOptions
  /** Namespace path with its colon; `''` at the root, where keys are looked up as they come. */
  readonly #scope: string

  constructor(store: Store, defaults: Settings, unknown: UnknownOptions, path = '') {
    this.name = store.name
    this.#store = store
    this.#defaults = defaults
    this.#unknown = unknown
    this.#forever = defaults.overlay({ ttl: null })
    this.#view = viewOf(path)
    this.#scope = path === '' ? '' : `${path}:`
  }

  /** A view of the keys below `namespace`, which shares everything else with this one. */
  namespace(namespace: string): CacheProvider {
    return new Cache(this.#store, this.#defaults, this.#unknown, clean(under(this.#view.path, checkKey(namespace))))
  }

  getOrSet<T>(key: string, factory: GetSetFactory<T>, options?: Without<GetOrSetOptions<T>, 'key' | 'factory'>): Promise<T>
  getOrSet<T>(options: GetOrSetOptions<T>): Promise<T>
  getOrSet(a: string | GetOrSetOptions<any>, factory?: GetSetFactory<any>, options?: object): Promise<any> {
    const raw = typeof a === 'object' ? a : (options as Raw | undefined)
    const name = typeof a === 'object' ? a?.key : a
    const store = this.#store
    // Whoever joins a flight where nothing has to be verified need not know the time.
    const now = store.verifiedUntil === Infinity ? 0 : store.clock.now()
    // The hit path: nothing is allocated but the promise, nobody is asked but L1.
    if (typeof name === 'string' && !store.observer.isActive && store.local !== undefined && (now < store.verifiedUntil || store.look(now))) {
      const entry = store.local.read(this.#scope === '' ? name : this.#scope + name)
      if (
        entry !== undefined && (now || store.clock.now()) < entry.calmUntil &&
        raw?.forceFresh !== true && verdict(store, this.#view, entry) === 'clear'
      ) {
        store.observer.stats.hits++
        try {
          return Promise.resolve(store.codec.open(entry))
        } catch {
          store.local.delete(this.#scope + name) // it cannot be opened: a miss
        }
      }
    }
    return this.#getOrSet(name, typeof a === 'object' ? a?.factory : factory, raw, false, now)
  }

  getOrSetForever<T>(key: string, factory: GetSetFactory<T>, options?: Without<GetOrSetForeverOptions<T>, 'key' | 'factory'>): Promise<T>
  getOrSetForever<T>(options: GetOrSetForeverOptions<T>): Promise<T>
  getOrSetForever(a: string | GetOrSetForeverOptions<any>, factory?: GetSetFactory<any>, options?: object): Promise<any> {
    const now = this.#store.clock.now()
    if (typeof a !== 'object') return this.#getOrSet(a, factory, options, true, now)
    return this.#getOrSet(a?.key, a?.factory, a, true, now)
  }

  get<T = any>(key: string): Promise<T | undefined | null>
  get<T>(key: string, defaultValue: Factory<T>, options?: Without<GetOptions<T>, 'key' | 'defaultValue'>): Promise<T>
  get<T = any>(options: GetOptions<T>): Promise<T>
  get(a: string | GetOptions<any>, defaultValue?: Factory<any>, options?: object): Promise<any> {
    const o: Partial<GetOptions<any>> = isPositional(a) ? { ...options, key: a, defaultValue } : (a ?? {})
    return this.#traced('get', o.key, (trace) => get(this.#store, this.#reading(o.key, o, trace), o.defaultValue))
  }

  set(key: string, value: any, options?: SetCommonOptions): Promise<boolean>
  set(options: SetOptions): Promise<boolean>
  set(a: string | SetOptions, value?: any, options?: object): Promise<boolean> {
    return this.#set(isPositional(a) ? { ...options, key: a, value } : a, false)
  }

  setForever(key: string, value: any, options?: SetCommonOptions): Promise<boolean>
  setForever(options: SetOptions): Promise<boolean>
  setForever(a: string | SetOptions, value?: any, options?: object): Promise<boolean> {
    return this.#set(isPositional(a) ? { ...options, key: a, value } : a, true)
  }

  has(key: string, options?: Without<HasOptions, 'key'>): Promise<boolean>
  has(options: HasOptions): Promise<boolean>
  async has(a: string | HasOptions, options?: object): Promise<boolean> {
    const o: Partial<HasOptions> = isPositional(a) ? { ...options, key: a } : (a ?? {})
    return has(this.#store, this.#reading(o.key, o))
  }

  missing(key: string, options?: Without<HasOptions, 'key'>): Promise<boolean>
  missing(options: HasOptions): Promise<boolean>
  async missing(a: any, options?: any): Promise<boolean> {
    return !(await this.has(a, options))
  }

  pull<T = any>(key: string): Promise<T | undefined | null>
  pull<T = any>(options: { key: string }): Promise<T | undefined | null>
  async pull(a: string | { key: string }): Promise<any> {
    const o: { key?: string } = isPositional(a) ? { key: a } : (a ?? {})
    // Traced, as in 1.6.1, as the two verbs that it stands for.
    return this.#traced('get', o.key, (trace) => this.#traced('delete', o.key, () => pull(this.#store, this.#reading(o.key, o, trace))))
  }

  delete(key: string, options?: Without<DeleteOptions, 'key'>): Promise<boolean>
  delete(options: DeleteOptions): Promise<boolean>
  delete(a: string | DeleteOptions, options?: object): Promise<boolean> {
    const o: Partial<DeleteOptions> = isPositional(a) ? { ...options, key: a } : (a ?? {})
    return this.#traced('delete', o.key, () => invalidation.remove(this.#store, this.#reading(o.key, o)))
  }

  deleteMany(keys: string[], options?: Without<DeleteManyOptions, 'keys'>): Promise<boolean>
  deleteMany(options: DeleteManyOptions): Promise<boolean>
  async deleteMany(a: string[] | DeleteManyOptions, options?: object): Promise<boolean> {
    const o: Partial<DeleteManyOptions> = isPositional(a) ? { ...options, keys: a } : (a ?? {})
    if (!Array.isArray(o.keys)) throw new E_INVALID_OPTION('keys', o.keys, 'an array of keys')
    const names = o.keys.map(checkKey)
    const settings = this.#settings(o)
    const paths = names.map((name) => this.#scope + name)
    return this.#store.observer.traceMany('deleteMany', paths, () => invalidation.removeMany(this.#store, this.#view, names, settings))
  }

  deleteByTag(tags: string[], options?: Without<DeleteByTagOptions, 'tags'>): Promise<boolean>
  deleteByTag(options: DeleteByTagOptions): Promise<boolean>
  async deleteByTag(a: string[] | DeleteByTagOptions, options?: object): Promise<boolean> {
    const o: Partial<DeleteByTagOptions> = isPositional(a) ? { ...options, tags: a } : (a ?? {})
    return invalidation.removeByTag(this.#store, this.#view, checkTags(o.tags), this.#settings({ ...o, tags: [] }))
  }

  expire(key: string, options?: Without<ExpireOptions, 'key'>): Promise<boolean>
  expire(options: ExpireOptions): Promise<boolean>
  expire(a: string | ExpireOptions, options?: object): Promise<boolean> {
    const o: Partial<ExpireOptions> = isPositional(a) ? { ...options, key: a } : (a ?? {})
    return this.#traced('expire', o.key, () => invalidation.expire(this.#store, this.#reading(o.key, o)))
  }

  async clear(options?: ClearOptions): Promise<void> {
    const settings = this.#settings(options)
    return this.#store.observer.trace('clear', undefined, () => invalidation.clear(this.#store, this.#view, settings))
  }

  async prune(): Promise<void> {
    await this.#store.remote?.prune()
  }

  /** What happened in this store since it was built. */
  stats(): Stats {
    const { stats } = this.#store.observer
    return { ...stats, executions: { ...stats.executions } }
  }

  /** Lets go of leases, connections and timers, in 3 s at most. Deletes nothing. May be called twice. */
  disconnect(): Promise<void> {
    return (this.#store.disconnecting ??= this.#disconnect())
  }

  async #disconnect(): Promise<void> {
    const { leases, bus, remote, local, observer, clock } = this.#store
    await leases?.close()
    const ends = Promise.allSettled([bus?.disconnect(), remote?.disconnect()])
    local?.disconnect()
    const settled = await within(clock, ends, 2_000)
    for (const end of settled === LATE ? [] : settled) {
      if (end.status === 'rejected') observer.trouble('could not disconnect', end.reason)
    }
  }

  /** `now`: 0 where nothing has to be verified. */
  #getOrSet(key: unknown, factory: unknown, raw: Raw | undefined, isForever: boolean, now: number): Promise<unknown> {
    const store = this.#store
    try {
      const name = checkKey(key)
      if (store.observer.isActive) return this.#observed(this.#callOf(name, factory, raw, isForever))

      const flight = store.flights.get(this.#scope === '' ? name : this.#scope + name)
      if (flight !== undefined && raw?.forceFresh !== true && store.recursion.current() === undefined) {
        const settings = this.#settings(raw, isForever)
        const last = flight.line as Line | undefined
        if (last?.takes(this.#view, settings, now)) return last.join()
        if (canFollow(store, flight, settings)) {
          const line = (flight.line = new Line(store, flight, this.#callOf(name, factory, raw, isForever)))
          return line.join()
        }
      }
      return getOrSet(store, this.#callOf(name, factory, raw, isForever))
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  #observed(call: Call): Promise<unknown> {
    const { observer } = this.#store
    observer.log?.debug?.({ cacheName: this.name, key: call.name, tags: call.tags }, 'getOrSet')
    return observer.trace('getOrSet', call.key, async (trace) => {
      const entry = this.#hit(call)
      if (entry !== undefined) return serveHit(this.#store, { ...call, trace }, entry, 'l1')
      return getOrSet(this.#store, { ...call, trace })
    })
  }

  /** The hit path again, for stores that somebody observes. */
  #hit(call: Call) {
    const { local, clock, verifiedUntil, look } = this.#store
    const now = clock.now()
    const entry = now < verifiedUntil || look(now) ? local?.read(call.key) : undefined
    if (entry === undefined || now >= entry.calmUntil || call.isForced) return undefined
    return verdict(this.#store, this.#view, entry) === 'clear' ? entry : undefined
  }

  #callOf(name: string, factory: unknown, raw: Raw | undefined, isForever: boolean): Call {
    const store = this.#store
    return {
      view: this.#view,
      name,
      key: this.#scope + name,
      settings: this.#settings(raw, isForever),
      trace: undefined,
      factory: factory as GetSetFactory<unknown>,
      tags: raw?.tags === undefined ? NO_TAGS : checkTags(raw.tags),
      isForced: raw?.forceFresh === true,
      skipL2Write: raw?.skipL2Write === true,
      skipBusNotify: raw?.skipBusNotify === true,
      startedAt: store.clock.now(),
      tagPosition: store.tagMarks.position,
      inside: store.recursion.current(),
    }
  }

  #reading(key: unknown, raw: object | undefined, trace?: ReadTrace): Reading {
    const name = checkKey(key)
    return { view: this.#view, name, key: this.#scope + name, settings: this.#settings(raw as Raw), trace }
  }

  #settings(raw: Raw | undefined, isForever = false): Settings {
    if (raw !== undefined) this.#unknown.ofCall(raw)
    return (isForever ? this.#forever : this.#defaults).overlay(raw ?? undefined)
  }

  async #set(o: SetOptions | undefined, isForever: boolean): Promise<boolean> {
    const name = checkKey(o?.key)
    const { value, tags, skipL2Write, skipBusNotify } = o!
    const writing = {
      view: this.#view,
      name,
      key: this.#scope + name,
      value,
      settings: this.#settings(o, isForever),
      tags: tags === undefined ? NO_TAGS : checkTags(tags),
      skipL2Write: skipL2Write === true,
      skipBusNotify: skipBusNotify === true,
    }
    if (value === undefined) return set(this.#store, writing) // rejects before anything is traced
    return this.#store.observer.trace('set', writing.key, () => set(this.#store, writing))
  }

  async #traced<T>(operation: 'get' | 'delete' | 'expire', key: unknown, run: (trace?: ReadTrace) => Promise<T>): Promise<T> {
    const name = checkKey(key)
    this.#store.observer.log?.debug?.({ cacheName: this.name, key: name }, operation)
    return isTraced() ? this.#store.observer.trace(operation, this.#scope + name, run) : run()
  }
}

const NO_TAGS: readonly string[] = []

/** What no options object can be is the key, or the keys: a wrong one is told as what it is. */
function isPositional<T>(a: string | string[] | T): a is Exclude<typeof a, T> {
  return typeof a !== 'object' || Array.isArray(a)
}
