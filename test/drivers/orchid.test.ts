import { createDb } from 'orchid-orm/node-postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { OrchidAdapter as Old } from '../../bench/node_modules/bentocache/build/src/drivers/database/adapters/orchid.js'
import { OrchidAdapter, orchidDriver } from '../../src/drivers/database/orchid.js'
import { describeSql } from '../support/sql-suite.js'
import { startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'

let postgres: SqlServer
let database: string
beforeAll(async () => {
  postgres = await startPostgres()
  database = await postgres.createDatabase()
})
afterAll(() => postgres?.stop())

const connect = () => createDb({ databaseURL: `${postgres.url}/${database}?ssl=false`, log: false })

describeSql('orchid on PostgreSQL', { isOwnLayout: true }, () => ({
  adapter: (config) => new OrchidAdapter(config),
  oldAdapter: (config) => new Old(config) as any,
  connect,
  query: (sql) => postgres.query(database, sql),
}))

test('a name with quotes is a name', async () => {
  const config = { connection: connect(), tableName: 'a "quoted"; name', prefix: 'bentocache' }
  const driver = orchidDriver(config).factory(config)
  await driver.set('key', "it's; drop table x", 60_000)
  expect(await driver.get('key')).toBe("it's; drop table x")
  await driver.disconnect()
  expect(await postgres.query(database, 'select key from public."a ""quoted""; name"')).toEqual([{ key: 'bentocache:key' }])
})
