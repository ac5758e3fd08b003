import { systemClock } from '../../base/clock.js'
import type { Clock, L2CacheDriver, Logger } from '../../base/contract.js'
import type { Duration } from '../../base/duration.js'
import { E_INVALID_KEY } from '../../base/errors.js'
import { ignore, within } from '../../base/promises.js'
import { BaseDriver } from '../base-driver.js'
import { pruneEvery } from '../prune-every.js'

/** A table of keys, texts and their ends, in any database (1.6.1). Keys arrive with their prefix. */
export interface DatabaseAdapter {
  /** Called once, before anything else. */
  setTableName(tableName: string): void
  /** `expiresAt`: epoch ms, null = never. Expired rows may be answered. */
  get(key: string): Promise<{ value: any; expiresAt: number | null } | undefined>
  /** Replaces what the key had, its end included. */
  set(row: { key: string; value: any; expiresAt: Date | null }): Promise<void>
  /** Whether the key existed. */
  delete(key: string): Promise<boolean>
  /** How many existed. */
  deleteMany(keys: string[]): Promise<number>
  /** Removes the keys that begin with `prefix`, which ends in a colon; `''` removes all. */
  clear(prefix: string): Promise<void>
  createTableIfNotExists(): Promise<void>
  pruneExpiredEntries(): Promise<void>
  disconnect(): Promise<void>
  /** In one round trip, answers in order. Without it the driver asks for each. */
  getMany?(keys: string[]): Promise<({ value: any; expiresAt: number | null } | undefined)[]>
  /** Removes the key if it has ended. Without it the driver deletes what it has read as ended. */
  deleteIfExpired?(key: string): Promise<void>
}

export interface DatabaseConfig {
  /** Default `'bentocache'`. */
  tableName?: string
  /** Create the table, when it is first needed and not there. Default `true`. */
  autoCreateTable?: boolean
  /** How often expired rows are removed that nobody asked for again. Default `false`: never. */
  pruneInterval?: Duration | false
  prefix?: string
}

export interface DatabaseGiven {
  clock?: Clock
  logger?: Logger
}

/** How long `disconnect` waits for a database that does not answer. */
const GOODBYE = 1_500
const LATEST_DATE = 8.64e15

/** L2 in a table, through an adapter; those of knex, kysely and orchid have doors of their own. */
export class DatabaseDriver extends BaseDriver implements L2CacheDriver {
  readonly type = 'l2'
  readonly #adapter: DatabaseAdapter
  readonly #config: DatabaseConfig & DatabaseGiven
  readonly #clock: Clock
  /** Of a driver and all its namespaces. */
  #table: Table

  constructor(adapter: DatabaseAdapter, config: DatabaseConfig & DatabaseGiven, isNamespace = false) {
    super(config)
    this.#adapter = adapter
    this.#config = config
    this.#clock = config.clock ?? systemClock
    this.#table = new Table(adapter, config)
    if (isNamespace) return
    adapter.setTableName(config.tableName ?? 'bentocache')
    this.#table.stopPruning = pruneEvery(config.pruneInterval, {
      clock: this.#clock,
      logger: config.logger,
      prune: () => this.prune(),
    })
  }

  namespace(namespace: string): DatabaseDriver {
    const config = { ...this.#config, prefix: this.createNamespacePrefix(namespace) }
    const driver = new DatabaseDriver(this.#adapter, config, true)
    driver.#table = this.#table
    return driver
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.#find(key))?.value
  }

  async getMany(keys: string[]): Promise<(string | undefined)[]> {
    if (this.#adapter.getMany === undefined) return Promise.all(keys.map((key) => this.get(key)))
    await this.#table.ready()
    const rows = await this.#adapter.getMany(keys.map((key) => this.#name(key)))
    return rows.map((row) => (row !== undefined && this.#left(row) > 0 ? row.value : undefined))
  }

  async pull(key: string): Promise<string | undefined> {
    const row = await this.#find(key)
    // Of several who have read it, one deletes it.
    return row !== undefined && (await this.#adapter.delete(this.#name(key))) ? row.value : undefined
  }

  async set(key: string, value: any, ttl?: number): Promise<boolean> {
    await this.#table.ready()
    const end = ttl ? Math.ceil(this.#clock.now() + ttl) : Infinity
    await this.#adapter.set({ key: this.#name(key), value, expiresAt: end > LATEST_DATE ? null : new Date(end) })
    return true
  }

  async delete(key: string): Promise<boolean> {
    await this.#table.ready()
    return this.#adapter.delete(this.#name(key))
  }

  async deleteMany(keys: string[]): Promise<boolean> {
    if (keys.length === 0) return true
    await this.#table.ready()
    return (await this.#adapter.deleteMany([...new Set(keys.map((key) => this.#name(key)))])) > 0
  }

  /** Milliseconds left; Infinity for ever, 0 missing. */
  async remainingTtl(key: string): Promise<number> {
    const row = await this.#find(key)
    return row === undefined ? 0 : this.#left(row)
  }

  /** Without a prefix: the whole table. */
  async clear(): Promise<void> {
    await this.#table.ready()
    await this.#adapter.clear(this.prefix ? `${this.prefix}:` : '')
  }

  async prune(): Promise<void> {
    await this.#table.ready()
    await this.#adapter.pruneExpiredEntries()
  }

  /** Closes the connection that was passed in, too (1.6.1). Within two seconds, whatever it does. */
  async disconnect(): Promise<void> {
    await this.#table.close()
  }

  async #find(key: string): Promise<{ value: any; expiresAt: number | null } | undefined> {
    await this.#table.ready()
    const name = this.#name(key)
    const row = await this.#adapter.get(name)
    if (row === undefined || row === null || this.#left(row) > 0) return row ?? undefined
    // Not in the way of the answer: who fails to tidy up has still read that nothing is there.
    const removed = this.#adapter.deleteIfExpired?.(name) ?? this.#adapter.delete(name)
    await removed.catch(() => {})
    return undefined
  }

  #left({ expiresAt }: { expiresAt: number | Date | null }): number {
    return expiresAt === null ? Infinity : Number(expiresAt) - this.#clock.now()
  }

  /** Half a surrogate pair becomes `\uFFFD` on its way to a database, as others of its kind do. */
  #name(key: string): string {
    const name = this.getItemKey(key)
    if (/\p{Surrogate}/u.test(name)) throw new E_INVALID_KEY(name, 'well-formed Unicode')
    return name
  }
}

class Table {
  readonly #adapter: DatabaseAdapter
  readonly #config: DatabaseConfig & DatabaseGiven
  #created: Promise<void> | undefined
  #closed: Promise<void> | undefined
  stopPruning = () => {}

  constructor(adapter: DatabaseAdapter, config: DatabaseConfig & DatabaseGiven) {
    this.#adapter = adapter
    this.#config = config
  }

  /** The table is there; a creation that failed is tried again. */
  ready(): Promise<void> {
    if (this.#config.autoCreateTable === false) return Promise.resolve()
    return (this.#created ??= this.#create())
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  async #create(): Promise<void> {
    try {
      await this.#adapter.createTableIfNotExists()
    } catch (error) {
      this.#created = undefined
      throw error
    }
  }

  async #close(): Promise<void> {
    this.stopPruning()
    try {
      const closed = this.#adapter.disconnect()
      ignore(closed)
      await within(systemClock, closed, GOODBYE)
    } catch (error) {
      this.#config.logger?.error?.({ err: error }, 'closing the database failed')
    }
  }
}
