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
  SetCommonOptions,
  SetOptions,
} from '../base/options.js'
import type { Stats } from '../base/stats.js'

/**
 * A store, or a namespace of one. Every verb takes an options object; most also take positional
 * arguments. The object form is declared last, because type tools see only the last overload.
 * All verbs reject with the errors of `errors`; none throws synchronously.
 */
export interface CacheProvider {
  /** The store's name. */
  readonly name: string

  /** A view of the keys below `namespace`. */
  namespace(namespace: string): CacheProvider

  /** The cached value, else `defaultValue`, else `undefined`. With `grace`, a stale value counts. */
  get<T = any>(key: string): Promise<T | undefined | null>
  get<T>(key: string, defaultValue: Factory<T>, options?: Omit<GetOptions<T>, 'key' | 'defaultValue'>): Promise<T>
  get<T = any>(options: GetOptions<T>): Promise<T>

  /**
   * The cached value; on a miss the factory's, computed once for all who ask meanwhile.
   * @throws E_FACTORY_ERROR, E_FACTORY_HARD_TIMEOUT, E_LOCK_TIMEOUT, E_RECURSIVE_CALL, E_UNDEFINED_VALUE
   */
  getOrSet<T>(key: string, factory: GetSetFactory<T>, options?: Omit<GetOrSetOptions<T>, 'key' | 'factory'>): Promise<T>
  getOrSet<T>(options: GetOrSetOptions<T>): Promise<T>

  /** `getOrSet` with `ttl: null`. */
  getOrSetForever<T>(key: string, factory: GetSetFactory<T>, options?: Omit<GetOrSetForeverOptions<T>, 'key' | 'factory'>): Promise<T>
  getOrSetForever<T>(options: GetOrSetForeverOptions<T>): Promise<T>

  /** Stores a value. Resolves false when no tier keeps it. @throws E_UNDEFINED_VALUE */
  set(key: string, value: any, options?: SetCommonOptions): Promise<boolean>
  set(options: SetOptions): Promise<boolean>

  /** `set` with `ttl: null`. */
  setForever(key: string, value: any, options?: SetCommonOptions): Promise<boolean>
  setForever(options: SetOptions): Promise<boolean>

  /** Whether a fresh value is cached. */
  has(key: string, options?: Omit<HasOptions, 'key'>): Promise<boolean>
  has(options: HasOptions): Promise<boolean>

  /** Not `has`. */
  missing(key: string, options?: Omit<HasOptions, 'key'>): Promise<boolean>
  missing(options: HasOptions): Promise<boolean>

  /** The value, which is deleted by the same step. */
  pull<T = any>(key: string): Promise<T | undefined | null>
  pull<T = any>(options: { key: string }): Promise<T | undefined | null>

  /** Removes the value everywhere. Resolves whether some tier had it. */
  delete(key: string, options?: Omit<DeleteOptions, 'key'>): Promise<boolean>
  delete(options: DeleteOptions): Promise<boolean>

  deleteMany(keys: string[], options?: Omit<DeleteManyOptions, 'keys'>): Promise<boolean>
  deleteMany(options: DeleteManyOptions): Promise<boolean>

  /** Entries of this view that carry one of the tags are served by nobody any more. */
  deleteByTag(tags: string[], options?: Omit<DeleteByTagOptions, 'tags'>): Promise<boolean>
  deleteByTag(options: DeleteByTagOptions): Promise<boolean>

  /** Makes the value stale; grace may still serve it. */
  expire(key: string, options?: Omit<ExpireOptions, 'key'>): Promise<boolean>
  expire(options: ExpireOptions): Promise<boolean>

  /** Removes everything of this view. */
  clear(options?: ClearOptions): Promise<void>

  /** Drops expired entries where the L2 engine does not do so by itself. */
  prune(): Promise<void>

  /** Counters of the store since it was built. */
  stats(): Stats

  disconnect(): Promise<void>
}
