import { parseBytes } from '../../base/bytes.js'
import type { Bytes } from '../../base/bytes.js'
import { systemClock } from '../../base/clock.js'
import type { Clock, L2CacheDriver, LeaseCapability, Logger } from '../../base/contract.js'
import { clean, under } from '../../base/keys.js'
import { BaseDriver } from '../base-driver.js'
import { refusalOf } from './client.js'
import { RedisFeed } from './feed.js'
import { Names } from './keys.js'
import { RedisLease } from './lease.js'
import { checkConnection, openLink } from './link.js'
import type { Link } from './link.js'
import { RedisTransport } from './transport.js'

/**
 * How to reach Redis: a client of yours (`ioredis` 5 or 6, also a `Cluster`; `iovalkey`; a
 * connected client of `redis`), recognised by its shape and never closed here; or options of
 * `ioredis`, whose connection is made, shared by all who give the same options, and closed here.
 */
export interface RedisConnection {
  host?: any
  port?: any
  username?: any
  password?: any
  db?: any
  tls?: any
  keyPrefix?: any
  [option: string]: any
}

export interface RedisConfig {
  connection: RedisConnection
  /**
   * A connection of yours for pub/sub. Default: a duplicate of `connection`, shared by the bus and
   * the feed of leases, so that a store needs two connections.
   */
  subscriber?: RedisConnection | undefined
  /** In front of every key. Default: the prefix of the store, `bentocache`. */
  prefix?: string | undefined
  /** Values up to this size travel to those who wait for them; they read larger ones. Default `'8kb'`. */
  inlineBytes?: Bytes | undefined
  logger?: Logger | undefined
  clock?: Clock | undefined
}

export interface RedisBusConfig {
  connection: RedisConnection
  subscriber?: RedisConnection | undefined
  retryQueue?: { enabled?: boolean; maxSize?: number; retryInterval?: number | string | false } | undefined
}

/**
 * Keeps entries in Redis 6 or later, Valkey and the like; with leases, so that many processes
 * compute a key once.
 * @throws E_INVALID_OPTION
 */
export function redisDriver(config: RedisConfig) {
  checkConnection(config?.connection)
  return {
    options: config as Record<string, any>,
    factory: (options: any): RedisDriver => new RedisDriver(options),
  }
}

/**
 * 1.6.1's bus over Redis pub/sub.
 * @throws E_INVALID_OPTION
 */
export function redisBusDriver(config: RedisBusConfig) {
  checkConnection(config?.connection)
  const { connection, subscriber, retryQueue } = config
  return {
    options: { ...(retryQueue !== undefined && { retryQueue }) },
    factory: (): RedisTransport => new RedisTransport({ connection, subscriber }),
  }
}

/** What a driver and its namespaces have in common. */
interface Root {
  link: Link
  names: Names
  lease: RedisLease
  disconnect(): Promise<void>
}

/** One prefix of a Redis. Ttls are rounded up to whole milliseconds. */
export class RedisDriver extends BaseDriver implements L2CacheDriver {
  readonly type = 'l2' as const
  readonly #root: Root
  /** From the root's prefix to this driver's. */
  readonly #path: string

  /** @throws E_INVALID_OPTION */
  constructor(config: RedisConfig)
  /** @internal a namespace of another driver */
  constructor(config: RedisConfig, root: Root, path: string)
  constructor(config: RedisConfig, root?: Root, path = '') {
    super(config)
    this.#root = root ?? openRoot(config, this.prefix)
    this.#path = path
  }

  /** Leases, and all writes that concern them. Keys are relative to the root driver's prefix. */
  get lease(): LeaseCapability {
    return this.#root.lease
  }

  /** The client that the commands go through. */
  getConnection(): any {
    return this.#root.link.client.raw
  }

  namespace(namespace: string): RedisDriver {
    const config = { ...(this.config as RedisConfig), prefix: this.createNamespacePrefix(namespace) }
    return new RedisDriver(config, this.#root, clean(under(this.#path, namespace)))
  }

  async get(key: string): Promise<string | undefined> {
    const text = await this.#root.link.client.get(this.getItemKey(key)).catch(missIfOfAnotherType)
    return text ?? undefined
  }

  /** In one round trip. */
  async getMany(keys: string[]): Promise<(string | undefined)[]> {
    const { client } = this.#root.link
    if (keys.length === 0) return []
    if (client.isCluster) return Promise.all(keys.map((key) => this.get(key)))
    const texts: (string | null)[] = await client.call(['mget', ...keys.map((key) => this.getItemKey(key))])
    return texts.map((text) => text ?? undefined)
  }

  /** In one step: of several that pull at the same time one gets the value. */
  async pull(key: string): Promise<string | undefined> {
    const text = await this.#root.lease.take(this.#below(key)).catch(missIfOfAnotherType)
    return text ?? undefined
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
    if (keys.length > 0) await this.#root.lease.invalidate(keys.map((key) => this.#below(key)), 'delete')
    return true
  }

  /** Without any prefix: the whole database, as in 1.6.1. */
  clear(): Promise<void> {
    return this.#root.lease.clear(this.#path)
  }

  expire(key: string, expiredAt: number): Promise<boolean> {
    return this.#root.lease.expire(this.#below(key), expiredAt)
  }

  async remainingTtl(key: string): Promise<number> {
    const left = Number(await this.#root.link.client.call(['pttl', this.getItemKey(key)]))
    if (left === -1) return Infinity
    return Math.max(0, left)
  }

  /** Also for all namespaces. Idempotent; settles within 2 s, whatever the connection does. */
  disconnect(): Promise<void> {
    return this.#root.disconnect()
  }

  #below(key: string): string {
    return under(this.#path, key)
  }
}

function openRoot(config: RedisConfig, prefix: string): Root {
  const link = openLink(config.connection, config.subscriber)
  const { client } = link
  const names = new Names({ root: prefix, keyPrefix: client.keyPrefix, isCluster: client.isCluster })
  const scope = `${client.db}:${client.keyPrefix}${prefix}`
  const feed = new RedisFeed({ link, scope, clock: config.clock ?? systemClock, log: config.logger })
  const inlineBytes = parseBytes(config.inlineBytes ?? '8kb', 'inlineBytes')
  return {
    link,
    names,
    lease: new RedisLease({ client, names, feed, inlineBytes }),
    async disconnect() {
      feed.close()
      await link.release()
    },
  }
}

/** Somebody else's list or hash under our key: nothing that we stored. */
function missIfOfAnotherType(error: unknown): undefined {
  if (refusalOf(error) !== 'WRONGTYPE') throw error
}
