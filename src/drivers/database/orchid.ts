import { E_INVALID_OPTION } from '../../base/errors.js'
import { DatabaseDriver } from './database.js'
import type { DatabaseConfig, DatabaseGiven } from './database.js'
import { SqlAdapter } from './sql-adapter.js'
import type { Condition, SqlRow, SqlTable } from './sql-table.js'

/** What is used of a database of orchid-orm, as its `createDb` makes it. */
export interface OrchidLike {
  query: any
  close(): Promise<void>
  adapter?: any
}

export interface OrchidConfig extends DatabaseConfig {
  /** PostgreSQL through orchid-orm. `disconnect()` closes it. */
  connection: OrchidLike
}

/** L2 in a table of PostgreSQL, through orchid-orm. */
export function orchidDriver(options: OrchidConfig) {
  return {
    options,
    factory: (config: OrchidConfig & DatabaseGiven) => new DatabaseDriver(new OrchidAdapter(config), config),
  }
}

export class OrchidAdapter extends SqlAdapter {
  constructor(config: OrchidConfig & DatabaseGiven) {
    super((tableName) => new OrchidTable(config.connection, tableName), config)
  }
}

class OrchidTable implements SqlTable {
  readonly engine = 'postgres'
  readonly #orchid: OrchidLike
  readonly #table: string
  #isClosed = false

  constructor(orchid: OrchidLike, name: string) {
    if (typeof orchid?.query !== 'function') throw new E_INVALID_OPTION('connection', orchid, 'a database of orchid-orm')
    this.#orchid = orchid
    // Nobody listens to the pool, nor to its clients: a connection that breaks would end the process.
    orchid.adapter?.pool?.on?.('error', () => {})
    orchid.adapter?.pool?.on?.('connect', (client: any) => client.on('error', () => {}))
    const [table, schema = 'public'] = name.split('.').reverse()
    this.#table = [schema, table].map((part) => `"${part!.replaceAll('"', '""')}"`).join('.')
  }

  async rows(where: Condition[]): Promise<SqlRow[]> {
    return (await this.#run(`select key, value, expires_at as expires from ${this.#table}`, where)).rows
  }

  async keys(where: Condition[], limit: number): Promise<unknown[]> {
    const { rows } = await this.#run(`select key from ${this.#table}`, where, ` order by key limit ${limit}`)
    return rows.map(({ key }) => key)
  }

  async upsert({ key, value, expires_at }: { key: string; value: unknown; expires_at: unknown }): Promise<void> {
    const insert = `insert into ${this.#table} (key, value, expires_at) values (`
    const update = ') on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at'
    await this.#query([insert, ', ', ', ', update], [key, value, expires_at])
  }

  async delete(where: Condition[]): Promise<number> {
    return (await this.#run(`delete from ${this.#table}`, where)).rowCount
  }

  async create(): Promise<void> {
    const columns = 'key varchar not null primary key, value text not null, expires_at timestamp'
    await this.#query([`create table ${this.#table} (${columns})`], [])
  }

  async typeOfEnd(): Promise<string> {
    const { rows } = await this.#query([`select pg_typeof((select expires_at from ${this.#table} limit 0))::text as type`], [])
    return rows[0].type
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#orchid.close()
  }

  #run(statement: string, where: Condition[], end = '') {
    const texts = [statement]
    for (const [i, [column, operator]] of where.entries()) {
      texts[i] += `${i === 0 ? ' where' : ' and'} ${column} ${operator === 'in' ? '= any(' : operator + ' ('}`
      texts.push(')')
    }
    texts[texts.length - 1] += end
    return this.#query(texts, where.map(([, , operand]) => operand))
  }

  /** The tag for SQL, called with texts of our own between the parameters. */
  async #query(texts: string[], parameters: unknown[]): Promise<{ rows: any[]; rowCount: number }> {
    // A query that was under way would open the pool again, and nobody would close it.
    if (this.#isClosed) throw new Error('The database was closed by disconnect()')
    return this.#orchid.query(Object.assign([...texts], { raw: texts }), ...parameters)
  }
}
