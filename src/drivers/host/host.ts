import { join, resolve } from 'node:path'
import { parseBytes } from '../../base/bytes.js'
import type { Bytes } from '../../base/bytes.js'
import type { L2CacheDriver, LeaseCapability, Logger } from '../../base/contract.js'
import { E_INVALID_OPTION } from '../../base/errors.js'
import { clean, under } from '../../base/keys.js'
import { BaseDriver } from '../base-driver.js'
import { HostFeed } from './feed.js'
import { HostLease } from './lease.js'
import { Maps } from './maps.js'
import { Names } from './names.js'
import { Sweeper } from './sweep.js'

export interface HostConfig {
  /**
   * Where the map lies, on a local disk or in memory (`/dev/shm/…`). Processes that name the same
   * directory share a cache. It is made with mode 0700, and refused when others may enter it.
   */
  directory: string
  /**
   * Most bytes of the map; what would end first is evicted. Reserved at once, filled as needed.
   * Whoever makes the map decides for all who join. Default `'1gb'`, at least `'1mb'`.
   */
  maxSize?: Bytes | undefined
  /** In front of every key. Default: the prefix of the store, `bentocache`. */
  prefix?: string | undefined
  logger?: Logger | undefined
}

const SMALLEST = 1_024 ** 2

/**
 * Keeps entries for all processes of this host and user, with leases, so that they compute a key
 * once. No server: a memory-mapped file. Needs the package `lmdb`.
 * @throws E_INVALID_OPTION
 */
export function hostDriver(config: HostConfig) {
  checkOptions(config)
  return {
    options: config as Record<string, any>,
    factory: (options: any): HostDriver => new HostDriver(options),
  }
}

/** What a driver and its namespaces have in common. */
interface Root {
  maps: Maps
  lease: HostLease
  sweeper: Sweeper
  disconnect(): Promise<void>
}

/** One prefix of a directory's map. */
export class HostDriver extends BaseDriver implements L2CacheDriver {
  readonly type = 'l2' as const
  readonly #root: Root
  /** From the root's prefix to this driver's. */
  readonly #path: string
  readonly #names: Names

  /** @throws E_INVALID_OPTION */
  constructor(config: HostConfig)
  /** @internal a namespace of another driver */
  constructor(config: HostConfig, root: Root, path: string)
  constructor(config: HostConfig, root?: Root, path = '') {
    super(config)
    this.#root = root ?? openRoot(config, this.prefix)
    this.#path = path
    this.#names = new Names(this.prefix)
  }

  /** Leases, and all writes that concern them. Keys are relative to the root driver's prefix. */
  get lease(): LeaseCapability {
    return this.#root.lease
  }

  namespace(namespace: string): HostDriver {
    const config = { ...(this.config as HostConfig), prefix: this.createNamespacePrefix(namespace) }
    return new HostDriver(config, this.#root, clean(under(this.#path, namespace)))
  }

  async get(key: string): Promise<string | undefined> {
    return this.#root.maps.read((map) => map.text(this.#names.of(key), Date.now()))
  }

  async getMany(keys: string[]): Promise<(string | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)))
  }

  /** In one step: of several that pull at the same time one gets the value. */
  pull(key: string): Promise<string | undefined> {
    return this.#root.lease.take(this.#below(key))
  }

  async set(key: string, value: string, ttl?: number): Promise<boolean> {
    const isBounded = ttl !== undefined && ttl > 0 && ttl < Infinity
    await this.#root.lease.put(this.#below(key), value, isBounded ? ttl : null)
    return true
  }

  async delete(key: string): Promise<boolean> {
    const [existed] = await this.#root.lease.invalidate([this.#below(key)], 'delete')
    return existed!
  }

  async deleteMany(keys: string[]): Promise<boolean> {
    await this.#root.lease.invalidate(keys.map((key) => this.#below(key)), 'delete')
    return true
  }

  /** Without any prefix: all that lies in the directory. */
  clear(): Promise<void> {
    return this.#root.lease.clear(this.#path)
  }

  expire(key: string, expiredAt: number): Promise<boolean> {
    return this.#root.lease.expire(this.#below(key), expiredAt)
  }

  async remainingTtl(key: string): Promise<number> {
    const { stored } = this.#root.maps.read((map) => map.look(() => map.stored(this.#names.of(key))))
    return stored === undefined ? 0 : Math.max(0, stored.until - Date.now())
  }

  /** Drops what has ended. Without it the processes that write do so, little by little. */
  async prune(): Promise<void> {
    await this.#root.maps.step((map) => this.#root.sweeper.prune(map))
  }

  /** Also for all namespaces. Idempotent. */
  disconnect(): Promise<void> {
    return this.#root.disconnect()
  }

  #below(key: string): string {
    return under(this.#path, key)
  }
}

function openRoot(config: HostConfig, prefix: string): Root {
  const { directory, maxSize } = checkOptions(config)
  const maps = new Maps({ directory, maxSize, log: config.logger })
  const names = new Names(prefix)
  const feed = new HostFeed({ maps, names, bell: join(directory, 'bell') })
  const sweeper = new Sweeper({ maps, log: config.logger })
  return {
    maps,
    sweeper,
    lease: new HostLease({ maps, names, feed, sweeper }),
    async disconnect() {
      feed.close()
      await maps.close()
    },
  }
}

function checkOptions(config: HostConfig | undefined): { directory: string; maxSize: number } {
  const directory: unknown = config?.directory
  if (typeof directory !== 'string' || directory === '') throw new E_INVALID_OPTION('directory', directory, 'a path')
  const maxSize = parseBytes(config?.maxSize ?? '1gb', 'maxSize')
  if (maxSize < SMALLEST) throw new E_INVALID_OPTION('maxSize', config?.maxSize, "'1mb' or more")
  return { directory: resolve(directory), maxSize }
}
