import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import knex from 'knex'
import Database from 'libsql'
import { afterAll, beforeAll } from 'vitest'
import { KnexAdapter as Old } from '../../bench/node_modules/bentocache/build/src/drivers/database/adapters/knex.js'
import { KnexAdapter } from '../../src/drivers/database/knex.js'
import { describeSql } from '../support/sql-suite.js'
import { startMariaDb, startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'

const BetterSqlite = createRequire(import.meta.url)('knex/lib/dialects/better-sqlite3')

/** better-sqlite3's shape, without compiling it. */
class Libsql extends BetterSqlite {
  _driver() {
    return Database
  }
}

const home = mkdtempSync(join(tmpdir(), 'bentocache-knex-'))
const filename = join(home, 'cache.db')
const afterCreate = (connection: any, done: (error: unknown, connection: any) => void) => {
  connection.exec('pragma synchronous = off')
  done(undefined, connection)
}
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
  adapter: (config: any) => new KnexAdapter(config),
  oldAdapter: (config: any) => new Old(config) as any,
}

const over = (client: string, server: SqlServer, database: string) => () =>
  knex({ client, connection: { host: server.host, port: server.port, user: server.user, database }, pool: { min: 0, max: 5 } })

describeSql('knex on PostgreSQL', {}, () => ({
  ...adapters,
  connect: over('pg', postgres, databases['postgres']!),
  query: (sql) => postgres.query(databases['postgres']!, sql),
}))

describeSql('knex on MariaDB', { isOwnLayout: true }, () => ({
  ...adapters,
  connect: over('mysql2', mariadb, databases['mariadb']!),
  query: (sql) => mariadb.query(databases['mariadb']!, sql),
  oldGranularity: 1_000,
}))

describeSql('knex on SQLite', {}, () => ({
  ...adapters,
  connect: () => knex({ client: Libsql as any, connection: { filename }, useNullAsDefault: true, pool: { afterCreate } }),
  query: async (sql) => new Database(filename).prepare(sql).all(),
}))
