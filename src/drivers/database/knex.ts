import { E_INVALID_OPTION } from '../../base/errors.js'
import { DatabaseDriver } from './database.js'
import type { DatabaseConfig, DatabaseGiven } from './database.js'
import { SqlAdapter } from './sql-adapter.js'
import type { ColumnFacts, Condition, Engine, SqlRow, SqlTable } from './sql-table.js'

/** What is used of a `Knex` instance. */
export interface KnexLike {
  (table: any): any
  select(...columns: any[]): any
  raw(...sql: any[]): any
  readonly schema: any
  readonly client: any
  destroy(): Promise<any>
}

export interface KnexConfig extends DatabaseConfig {
  /** A knex over PostgreSQL, MySQL, MariaDB or SQLite. `disconnect()` destroys it. */
  connection: KnexLike
}

/** L2 in a table, through knex and the client it is made with. */
export function knexDriver(options: KnexConfig) {
  return {
    options,
    factory: (config: KnexConfig & DatabaseGiven) => new DatabaseDriver(new KnexAdapter(config), config),
  }
}

export class KnexAdapter extends SqlAdapter {
  constructor(config: KnexConfig & DatabaseGiven) {
    super((tableName) => new KnexTable(config.connection, tableName), config)
  }
}

class KnexTable implements SqlTable {
  readonly engine: Engine
  readonly #knex: KnexLike
  readonly #name: string

  constructor(knex: KnexLike, name: string) {
    if (typeof knex?.client !== 'object') throw new E_INVALID_OPTION('connection', knex, 'an instance of knex')
    this.#knex = knex
    this.#name = name
    const { dialect } = knex.client
    this.engine = /sqlite/.test(dialect) ? 'sqlite' : /mysql/.test(dialect) ? 'mysql' : 'postgres'
  }

  async rows(where: Condition[]): Promise<SqlRow[]> {
    return this.#where(where).select('key', 'value', 'expires_at as expires')
  }

  async keys(where: Condition[], limit: number): Promise<unknown[]> {
    const rows: SqlRow[] = await this.#where(where).select('key').orderBy('key').limit(limit)
    return rows.map(({ key }) => key)
  }

  async upsert(row: object): Promise<void> {
    await this.#knex(this.#name).insert(row).onConflict('key').merge(['key', 'value', 'expires_at'])
  }

  async delete(where: Condition[]): Promise<number> {
    return this.#where(where).delete()
  }

  async create(collation?: string): Promise<void> {
    await this.#knex.schema.createTable(this.#name, (table: any) => {
      const key = table.string('key', 255).notNullable().primary()
      if (collation !== undefined) key.collate(collation)
      table.text('value', 'longtext')
      table.timestamp('expires_at', this.engine === 'mysql' ? { precision: 3 } : {}).nullable()
    })
  }

  async typeOfEnd(): Promise<string> {
    const ends = this.#knex(this.#name).select('expires_at').limit(0)
    const [{ type }] = await this.#knex.select(this.#knex.raw('pg_typeof((?))::text as type', [ends]))
    return type
  }

  async columns(): Promise<ColumnFacts[]> {
    const [name, schema = this.#knex.raw('database()')] = this.#name.split('.').reverse()
    return this.#knex('information_schema.columns').where({ table_schema: schema, table_name: name }).select({
      name: 'column_name',
      type: 'data_type',
      charset: 'character_set_name',
      collation: 'collation_name',
      length: 'character_maximum_length',
      precision: 'datetime_precision',
    })
  }

  async collations(names: string[]): Promise<string[]> {
    const collations = this.#knex('information_schema.collations').whereIn('collation_name', names)
    const rows: { name: string }[] = await collations.select({ name: 'collation_name' })
    return rows.map(({ name }) => name)
  }

  async close(): Promise<void> {
    await this.#knex.destroy()
  }

  #where(conditions: Condition[]): any {
    return conditions.reduce((query, condition) => query.where(...condition), this.#knex(this.#name))
  }
}
