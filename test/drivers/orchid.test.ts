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

test('ends are shared with 1.6.1 where the machine is not in UTC', async () => {
  const zone = process.env['TZ']
  process.env['TZ'] = 'America/New_York'
  try {
    expect(new Date('2026-07-01T12:00:00Z').getHours()).toBe(8)
    const [old, config] = [new Old({ connection: connect() as any }), { connection: connect(), tableName: 'zones' }]
    const driver = orchidDriver(config).factory(config)
    await driver.set('ours', 'text', 3_600_000)
    old.setTableName('zones')
    await old.set({ key: 'theirs', value: 'text', expiresAt: new Date(Date.now() + 3_600_000) })
    for (const key of ['ours', 'theirs']) {
      expect(Math.abs((await driver.remainingTtl(key)) - 3_600_000)).toBeLessThan(10_000)
      expect(Math.abs((await old.get(key))!.expiresAt! - Date.now() - 3_600_000)).toBeLessThan(10_000)
    }
    await Promise.all([driver.disconnect(), old.disconnect()])
  } finally {
    if (zone === undefined) delete process.env['TZ']
    else process.env['TZ'] = zone
  }
})

test('a name with quotes is a name', async () => {
  const config = { connection: connect(), tableName: 'a "quoted"; name', prefix: 'bentocache' }
  const driver = orchidDriver(config).factory(config)
  await driver.set('key', "it's; drop table x", 60_000)
  expect(await driver.get('key')).toBe("it's; drop table x")
  await driver.disconnect()
  expect(await postgres.query(database, 'select key from public."a ""quoted""; name"')).toEqual([{ key: 'bentocache:key' }])
})
