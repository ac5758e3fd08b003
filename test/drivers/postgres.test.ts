import assert from 'node:assert/strict'
import knex from 'knex'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { leaseCases } from '../../src/conformance/leases.js'
import { storageCases } from '../../src/conformance/storage.js'
import { KyselyAdapter } from '../../src/drivers/database/kysely.js'
import { PostgresDriver } from '../../src/drivers/postgres/postgres.js'
import type { PostgresConfig } from '../../src/drivers/postgres/postgres.js'
import { startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'

interface Options {
  host: string
  port: number
  user: string
  database: string
}

let server: SqlServer
const ends: (() => Promise<unknown>)[] = []

beforeAll(async () => void (server = await startPostgres()), 60_000)
afterAll(async () => {
  for (const end of ends) await end()
  await server.stop()
})

/** As programs do: a connection that breaks, at rest or in use, would end the process. */
function poolOf(options: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool(options)
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return pool
}

/** Both kits, on a database of its own; each driver is a process of its own. */
function conforms(title: string, connect: (options: Options) => PostgresConfig | Promise<PostgresConfig>) {
  describe(title, () => {
    let config: PostgresConfig
    let past: pg.Pool
    beforeAll(async () => {
      const options = { host: server.host, port: server.port, user: server.user, database: await server.createDatabase() }
      past = poolOf({ ...options, max: 1 })
      ends.push(() => past.end())
      config = await connect(options)
    })
    const driver = (prefix: string) => new PostgresDriver({ prefix, ...config })

    for (const { name, run } of storageCases) {
      test(`storage: ${name}`, () => run({ assert, createDriver: (o) => driver(o?.prefix ?? 'suite') }))
    }
    for (const { name, run } of leaseCases) {
      test(`leases: ${name}`, () =>
        run({
          assert,
          createDrivers: async () => [driver('p'), driver('p')],
          foreignWrite: async (_driver, key, text) => {
            const upsert = 'insert into bentocache (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value'
            await past.query(upsert, [`p:${key}`, text])
          },
        }))
    }
  })
}

conforms('options of pg', (connection) => ({ connection }))

conforms('a pool of the program, and a default isolation of repeatable read', async (options) => {
  await server.query('postgres', `alter database ${options.database} set default_transaction_isolation = 'repeatable read'`)
  const pool = poolOf(options)
  ends.push(() => pool.end())
  return { connection: pool }
})

conforms('through knex', (connection) => {
  const db = knex({ client: 'pg', connection })
  ends.push(() => db.destroy())
  return { connection: db }
})

conforms('through Kysely, in the table that its driver made, whose ends are numbers', async (options) => {
  const db = new Kysely<any>({ dialect: new PostgresDialect({ pool: poolOf(options) }) })
  ends.push(() => db.destroy())
  const adapter = new KyselyAdapter({ connection: db })
  adapter.setTableName('bentocache')
  await adapter.createTableIfNotExists()
  await sql`select 1`.execute(db)
  return { connection: db as any, listener: options }
})

conforms('where nothing is heard: Kysely without a listener', (options) => {
  const db = new Kysely<any>({ dialect: new PostgresDialect({ pool: poolOf(options) }) })
  ends.push(() => db.destroy())
  return { connection: db as any }
})
