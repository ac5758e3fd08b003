import { parseBytes } from '../../base/bytes.js'
import type { Bytes } from '../../base/bytes.js'
import { systemClock } from '../../base/clock.js'
import type { Clock, L2CacheDriver, LeaseCapability, Logger } from '../../base/contract.js'
import type { Duration } from '../../base/duration.js'
import { ignore } from '../../base/promises.js'
import { clean, under } from '../../base/keys.js'
import { BaseDriver } from '../base-driver.js'
import { pruneEvery } from '../prune-every.js'
import { checkConnection, openConnection, sqlOf } from './connection.js'
import type { Connection } from './connection.js'
import { PostgresFeed } from './feed.js'
import { PostgresLease } from './lease.js'
import { prepare } from './schema.js'
import type { Schema } from './schema.js'

export { postgresSchema } from './schema.js'

/** How often leases are removed that nobody asked for again. */
const SWEEP = 60_000

/** Everything `pg`'s `Pool` takes. */
export interface PostgresOptions {
  connectionString?: any
  host?: any
  port?: any
  user?: any
  password?: any
  database?: any
  ssl?: any
  max?: any
  [option: string]: any
}

export interface PostgresConfig {
  /**
   * A `Pool` of `pg`, a knex or a Kysely on PostgreSQL, recognised by its shape and never closed
   * here; or options of `pg`, whose pool is made and closed here.
   */
  connection: PostgresOptions
  /**
   * Options of `pg`, a `Pool` or a knex, for the one connection that listens. Needed where
   * `connection` leads through PgBouncer in transaction mode, and with Kysely. Default: `connection`.
   */
  listener?: PostgresOptions | undefined
  /** Default `'bentocache'`; `schema.table` works. The leases are beside it, in `<tableName>_leases`. */
  tableName?: string | undefined
  /** Make the tables and functions when they are first needed and not there. Default `true`. */
  autoCreateTable?: boolean | undefined
  /** How often expired rows are removed that nobody asked for again. Default `false`: never. */
  pruneInterval?: Duration | false | undefined
  /** In front of every key. Default: the prefix of the store, `bentocache`. */
  prefix?: string | undefined
  /** Values up to this size, and below 8 kB, travel to those who wait; they read larger ones. Default `'8kb'`. */
  inlineBytes?: Bytes | undefined
  logger?: Logger | undefined
  clock?: Clock | undefined
}

/**
 * Keeps entries in a table of PostgreSQL 12 or later, the one of the knex and Kysely drivers; with
 * leases, so that many processes compute a key once.
 * @throws E_INVALID_OPTION
 */
export function postgresDriver(config: PostgresConfig) {
  checkConnection(config?.connection)
  const made: PostgresDriver[] = []
  return {
    options: config as Record<string, any>,
    factory: (options: any): PostgresDriver => {
      const driver = new PostgresDriver(options)
      made.push(driver)
      return driver
    },
    /**
     * Deletes the keys as part of the transaction that `client` is in (a client of `pg`, or a
     * transaction of knex or Kysely): seen by nobody before it commits, undone when it rolls back.
     * Until it ends nobody computes any of the keys: they wait. Other processes hear of it, and this
     * one too, one delivery after the commit. Keys of a namespace: `users:1`.
     * @throws E_INVALID_OPTION naming `client`; whatever the statement throws: the transaction is then void
     */
    async invalidateIn(client: unknown, keys: string | readonly string[]): Promise<void> {
      if (made.length === 0) throw new Error('No store uses this driver yet: there is nothing to invalidate')
      for (const driver of made) await driver.invalidateIn(client, keys)
    },
  }
}

/** What a driver and its namespaces have in common. */
interface Root {
  connection: Connection
  schema: () => Promise<Schema>
  lease: PostgresLease
  disconnect(): Promise<void>
}

/** One prefix of a table. Ttls are rounded up to whole milliseconds; ends are judged by the server's clock. */
export class PostgresDriver extends BaseDriver implements L2CacheDriver {
  readonly type = 'l2' as const
  readonly #root: Root
  /** From the root's prefix to this driver's. */
  readonly #path: string

  /** @throws E_INVALID_OPTION */
  constructor(config: PostgresConfig)
  /** @internal a namespace of another driver */
  constructor(config: PostgresConfig, root: Root, path: string)
  constructor(config: PostgresConfig, root?: Root, path = '') {
    super(config)
    this.#root = root ?? openRoot(config, this.prefix)
    this.#path = path
  }

  /** Leases, and all writes that concern them. Keys are relative to the root driver's prefix. */
  get lease(): LeaseCapability {
    return this.#root.lease
  }

  /** What was passed as `connection`. */
  getConnection(): any {
    return this.#root.connection.raw
  }

  namespace(namespace: string): PostgresDriver {
    const config = { ...(this.config as PostgresConfig), prefix: this.createNamespacePrefix(namespace) }
    return new PostgresDriver(config, this.#root, clean(under(this.#path, namespace)))
  }

  async get(key: string): Promise<string | undefined> {
    const { table, isAlive } = await this.#root.schema()
    const sql = `select value as text from ${table} where key = $1 and ${isAlive}`
    const [row] = await this.#root.connection.query(sql, [this.getItemKey(key)])
    return row?.['text'] ?? undefined
  }

  /** In one round trip. */
  async getMany(keys: string[]): Promise<(string | undefined)[]> {
    if (keys.length === 0) return []
    const { table, isAlive } = await this.#root.schema()
    const names = keys.map((key) => this.getItemKey(key))
    const sql = `select key as name, value as text from ${table} where key = any ($1) and ${isAlive}`
    const rows = await this.#root.connection.query(sql, [names])
    const texts = new Map(rows.map(({ name, text }) => [name, text]))
    return names.map((name) => texts.get(name) ?? undefined)
  }

  /** In one step: of several that pull at the same time one gets the value. */
  async pull(key: string): Promise<string | undefined> {
    return (await this.#root.lease.take(this.#below(key))) ?? undefined
  }

  async set(key: string, value: string, ttl?: number): Promise<boolean> {
    await this.#root.lease.put(this.#below(key), value, ttl !== undefined && ttl > 0 && ttl < Infinity ? ttl : null)
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

  /** Without any prefix: the whole table. */
  clear(): Promise<void> {
    return this.#root.lease.clear(this.#path)
  }

  async expire(key: string, expiredAt: number): Promise<boolean> {
    const [existed] = await this.#root.lease.expire([this.#below(key)], expiredAt)
    return existed!
  }

  async remainingTtl(key: string): Promise<number> {
    const { table, isAlive, msLeft } = await this.#root.schema()
    const sql = `select (${msLeft})::float8 as left from ${table} where key = $1 and ${isAlive}`
    const [row] = await this.#root.connection.query(sql, [this.getItemKey(key)])
    if (row === undefined) return 0
    return row['left'] === null ? Infinity : Math.max(0, Number(row['left']))
  }

  /** `postgresDriver(…).invalidateIn`, of this driver's prefix. */
  async invalidateIn(client: unknown, keys: string | readonly string[]): Promise<void> {
    const all = typeof keys === 'string' ? [keys] : keys
    await this.#root.lease.invalidateIn(sqlOf(client), all.map((key) => this.#below(key)))
  }

  async prune(): Promise<void> {
    await this.#root.lease.prune({ values: true })
  }

  /** Also for all namespaces. Idempotent; settles within 2 s, whatever the connection does. */
  disconnect(): Promise<void> {
    return this.#root.disconnect()
  }

  #below(key: string): string {
    return under(this.#path, key)
  }
}

function openRoot(config: PostgresConfig, prefix: string): Root {
  const { tableName = 'bentocache', clock = systemClock, logger } = config
  const connection = openConnection(config.connection, config.listener)
  let prepared: Promise<Schema> | undefined
  const schema = () =>
    (prepared ??= prepare(connection, { tableName, autoCreateTable: config.autoCreateTable !== false }).catch((error) => {
      prepared = undefined // asked again the next time
      throw error
    }))
  const feed = new PostgresFeed({ connection, scope: `${tableName}:${prefix}`, clock, log: logger })
  const inlineBytes = parseBytes(config.inlineBytes ?? '8kb', 'inlineBytes')
  const lease = new PostgresLease({ sql: connection, schema, prefix, feed, inlineBytes })
  const prunes = [
    pruneEvery(SWEEP, { clock, logger: undefined, prune: () => lease.prune({ values: false }) }),
    pruneEvery(config.pruneInterval, { clock, logger, prune: () => lease.prune({ values: true }) }),
  ]
  let gone: Promise<void> | undefined
  const leave = async () => {
    for (const stop of prunes) stop()
    const closed = [feed.close(), connection.close()]
    for (const promise of closed) ignore(promise)
    await Promise.all(closed)
  }
  return { connection, schema, lease, disconnect: () => (gone ??= leave()) }
}
