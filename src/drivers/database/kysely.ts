import { E_INVALID_OPTION } from '../../base/errors.js'
import { DatabaseDriver } from './database.js'
import type { DatabaseConfig, DatabaseGiven } from './database.js'
import { SqlAdapter } from './sql-adapter.js'
import type { ColumnFacts, Condition, Engine, SqlRow, SqlTable } from './sql-table.js'

/** What is used of a `Kysely` instance. */
export interface KyselyLike {
  selectFrom(table: any): any
  selectNoFrom(selection: any): any
  insertInto(table: any): any
  deleteFrom(table: any): any
  readonly schema: any
  getExecutor(): any
  destroy(): Promise<void>
}

export interface KyselyConfig extends DatabaseConfig {
  /** A kysely over PostgreSQL, MySQL, MariaDB or SQLite. `disconnect()` destroys it. */
  connection: KyselyLike
}

/** L2 in a table, through kysely and the dialect it is made with. */
export function kyselyDriver(options: KyselyConfig) {
  return {
    options,
    factory: (config: KyselyConfig & DatabaseGiven) => new DatabaseDriver(new KyselyAdapter(config), config),
  }
}

export class KyselyAdapter extends SqlAdapter {
  constructor(config: KyselyConfig & DatabaseGiven) {
    super((tableName) => new KyselyTable(config.connection, tableName), config)
  }
}

class KyselyTable implements SqlTable {
  readonly engine: Engine
  readonly #kysely: KyselyLike
  readonly #name: string

  constructor(kysely: KyselyLike, name: string) {
    if (typeof kysely?.getExecutor !== 'function') throw new E_INVALID_OPTION('connection', kysely, 'an instance of Kysely')
    this.#kysely = kysely
    this.#name = name
    // By what it can, not by its class: names do not survive a minifier.
    const { supportsReturning, supportsTransactionalDdl } = kysely.getExecutor().adapter
    if (supportsTransactionalDdl) this.engine = 'postgres'
    else this.engine = supportsReturning ? 'sqlite' : 'mysql'
  }

  async rows(where: Condition[]): Promise<SqlRow[]> {
    const rows = filter(this.#kysely.selectFrom(this.#name), where)
    return rows.select(['key', 'value', 'expires_at as expires']).execute()
  }

  async keys(where: Condition[], limit: number): Promise<unknown[]> {
    const rows = filter(this.#kysely.selectFrom(this.#name), where)
    const found: SqlRow[] = await rows.select('key').orderBy('key').limit(limit).execute()
    return found.map(({ key }) => key)
  }

  async upsert(row: object): Promise<void> {
    const insert = this.#kysely.insertInto(this.#name).values(row)
    const names = ['key', 'value', 'expires_at']
    const withNew = (value: (name: string) => unknown) => Object.fromEntries(names.map((name) => [name, value(name)]))
    if (this.engine === 'mysql') {
      await insert.onDuplicateKeyUpdate((eb: any) => withNew((name) => eb.fn('values', [name]))).execute()
    } else {
      const replace = (eb: any) => withNew((name) => eb.ref(`excluded.${name}`))
      await insert.onConflict((conflict: any) => conflict.column('key').doUpdateSet(replace)).execute()
    }
  }

  async delete(where: Condition[]): Promise<number> {
    const { numDeletedRows } = await filter(this.#kysely.deleteFrom(this.#name), where).executeTakeFirst()
    return Number(numDeletedRows)
  }

  async create(collation?: string): Promise<void> {
    const key = (column: any) => {
      const named = column.notNull().primaryKey()
      return collation === undefined ? named : named.modifyFront(raw(`collate ${collation}`))
    }
    await this.#kysely.schema
      .createTable(this.#name)
      .addColumn('key', 'varchar(255)', key)
      .addColumn('value', this.engine === 'mysql' ? raw('longtext') : 'text')
      .addColumn('expires_at', 'bigint')
      .execute()
  }

  async typeOfEnd(): Promise<string> {
    const ends = this.#kysely.selectFrom(this.#name).select('expires_at').limit(0)
    const type = (eb: any) => eb.cast(eb.fn('pg_typeof', [ends]), 'text').as('type')
    const found = await this.#kysely.selectNoFrom(type).executeTakeFirst()
    return found.type
  }

  async columns(): Promise<ColumnFacts[]> {
    const [name, schema] = this.#name.split('.').reverse()
    return this.#kysely
      .selectFrom('information_schema.columns')
      .where('table_name', '=', name)
      .where('table_schema', '=', schema ?? raw('database()'))
      .select([
        'column_name as name',
        'data_type as type',
        'character_set_name as charset',
        'collation_name as collation',
        'character_maximum_length as length',
        'datetime_precision as precision',
      ])
      .execute()
  }

  async collations(names: string[]): Promise<string[]> {
    const collations = this.#kysely.selectFrom('information_schema.collations').where('collation_name', 'in', names)
    const rows: { name: string }[] = await collations.select('collation_name as name').execute()
    return rows.map(({ name }) => name)
  }

  async close(): Promise<void> {
    await this.#kysely.destroy()
  }
}

function filter(query: any, conditions: Condition[]): any {
  return conditions.reduce((query, condition) => query.where(...condition), query)
}

/** An expression as kysely's own `sql` makes it, without its package: the instance is all there is. */
function raw(sql: string) {
  const node = { kind: 'RawNode', sqlFragments: [sql], parameters: [] }
  return { expressionType: undefined, toOperationNode: () => node }
}
