import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CamelCasePlugin, Kysely, MysqlDialect, PostgresDialect, SqliteDialect } from 'kysely'
import Database from 'libsql'
import { createPool } from 'mysql2'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { KyselyAdapter as Old } from '../../bench/node_modules/bentocache/build/src/drivers/database/adapters/kysely.js'
import { KyselyAdapter, kyselyDriver } from '../../src/drivers/database/kysely.js'
import { describeSql } from '../support/sql-suite.js'
import { startMariaDb, startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'

const home = mkdtempSync(join(tmpdir(), 'bentocache-kysely-'))
const filename = join(home, 'cache.db')
let postgres: SqlServer
let mariadb: SqlServer
const databases: Record<string, string> = {}
beforeAll(async () => {
  postgres = await startPostgres()
  mariadb = await startMariaDb()
  databases['postgres'] = await postgres.createDatabase()
  databases['mariadb'] = await mariadb.createDatabase()
})
afterAll(async () => {
  await Promise.all([postgres?.stop(), mariadb?.stop()])
  rmSync(home, { recursive: true, force: true })
})

const adapters = {
  adapter: (config: any) => new KyselyAdapter(config),
  oldAdapter: (config: any) => new Old(config) as any,
}

function toPostgres(o = {}) {
  const { host, port, user } = postgres
  const pool = new pg.Pool({ host, port, user, database: databases['postgres'], max: 5 })
  pool.on('error', () => {}) // it would end the process, as that of a client would
  pool.on('connect', (client) => client.on('error', () => {}))
  return new Kysely<any>({ dialect: new PostgresDialect({ pool }), ...o })
}

function toMariaDb() {
  const { host, port, user } = mariadb
  const pool = createPool({ host, port, user, database: databases['mariadb']!, connectionLimit: 5 })
  return new Kysely<any>({ dialect: new MysqlDialect({ pool: pool as any }) })
}

function toSqlite() {
  const database = new Database(filename)
  database.pragma('synchronous = off')
  return new Kysely<any>({ dialect: new SqliteDialect({ database: database as any }) })
}

describeSql('kysely on PostgreSQL', { isOldBroken: true }, () => ({
  ...adapters,
  connect: toPostgres,
  query: (sql) => postgres.query(databases['postgres']!, sql),
}))

describeSql('kysely on MariaDB', { isOwnLayout: true, isOldBroken: true }, () => ({
  ...adapters,
  connect: toMariaDb,
  query: (sql) => mariadb.query(databases['mariadb']!, sql),
}))

describeSql('kysely on SQLite', {}, () => ({
  ...adapters,
  connect: toSqlite,
  query: async (sql) => new Database(filename).prepare(sql).all(),
}))

test('plugins of the user change nothing: camel case, another schema', async () => {
  await postgres.query(databases['postgres']!, 'create schema app')
  for (const connection of [toPostgres({ plugins: [new CamelCasePlugin()] }), toPostgres().withSchema('app')]) {
    const config = { connection, tableName: 'camel', prefix: 'bentocache' }
    const driver = kyselyDriver(config).factory(config)
    await driver.set('key', 'text', 60_000)
    expect(await driver.remainingTtl('key')).toBeGreaterThan(50_000)
    await driver.prune()
    expect(await driver.getMany(['key', 'missing'])).toEqual(['text', undefined])
    await driver.disconnect()
  }
  const rows = (schema: string) => postgres.query(databases['postgres']!, `select key from ${schema}.camel`)
  expect([await rows('public'), await rows('app')]).toEqual([[{ key: 'bentocache:key' }], [{ key: 'bentocache:key' }]])
})
