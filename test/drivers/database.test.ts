import { knex } from 'knex'
import { Kysely, PostgresDialect } from 'kysely'
import { createDb } from 'orchid-orm/node-postgres'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KnexAdapter as OldKnex } from '../../bench/node_modules/bentocache/build/src/drivers/database/adapters/knex.js'
import { DatabaseDriver } from '../../src/drivers/database/database.js'
import type { DatabaseAdapter } from '../../src/drivers/database/database.js'
import { KnexAdapter, knexDriver } from '../../src/drivers/database/knex.js'
import { KyselyAdapter } from '../../src/drivers/database/kysely.js'
import { OrchidAdapter } from '../../src/drivers/database/orchid.js'
import { isStandIn, standInFor } from '../../src/drivers/database/stand-in.js'
import { errors } from '../../src/index.js'
import { looksLikeOutage } from '../../src/tier/guard.js'
import { timeFrom } from '../support/sql-suite.js'
import { startMariaDb, startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'

let postgres: SqlServer
let mariadb: SqlServer
beforeAll(async () => {
  postgres = await startPostgres()
  mariadb = await startMariaDb()
})
afterAll(() => Promise.all([postgres?.stop(), mariadb?.stop()]))

const toMariaDb = (database: string) =>
  knex({ client: 'mysql2', connection: { host: mariadb.host, port: mariadb.port, user: mariadb.user, database } })

const builders: Record<string, { server: () => SqlServer; adapter: (database: string) => DatabaseAdapter }> = {
  'knex on PostgreSQL': {
    server: () => postgres,
    adapter: (database) => {
      const { host, port, user } = postgres
      return new KnexAdapter({ connection: knex({ client: 'pg', connection: { host, port, user, database } }) })
    },
  },
  'knex on MariaDB': {
    server: () => mariadb,
    adapter: (database) => new KnexAdapter({ connection: toMariaDb(database) }),
  },
  'kysely on PostgreSQL': {
    server: () => postgres,
    adapter: (database) => {
      const { host, port, user } = postgres
      const pool = new pg.Pool({ host, port, user, database })
      pool.on('error', () => {}) // it would end the process, as that of a client would
      pool.on('connect', (client) => client.on('error', () => {}))
      return new KyselyAdapter({ connection: new Kysely({ dialect: new PostgresDialect({ pool }) }) })
    },
  },
  'orchid on PostgreSQL': {
    server: () => postgres,
    adapter: (database) => {
      return new OrchidAdapter({ connection: createDb({ databaseURL: `${postgres.url}/${database}?ssl=false`, log: false }) })
    },
  },
}

/** Rejects, with what the tier takes for an L2 that is away. */
async function expectOutage(call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error
  )
  expect(error).toBeInstanceOf(Error)
  expect(looksLikeOutage(error), `${(error as any).name} ${(error as any).code} ${String(error)}`).toBe(true)
}

for (const [name, { server, adapter }] of Object.entries(builders)) {
  describe(name, () => {
    test('[16] [17] a database that is away is an error and a line in the log, and is served when it is back', async () => {
      const logged: any[] = []
      const logger = { error: (o: object, message: string) => logged.push({ ...o, message }) } as any
      const database = await server().createDatabase()
      await server().kill()
      const driver = new DatabaseDriver(adapter(database), { prefix: 'app', pruneInterval: 20, logger })
      await expectOutage(driver.set('key', 'text'))
      await expectOutage(driver.namespace('users').get('key'))
      await expect.poll(() => logged.length, { timeout: 10_000 }).toBeGreaterThan(0)
      expect(logged[0]).toMatchObject({ message: 'pruning failed', err: expect.any(Error) })

      await server().restart()
      // An attempt that began before may still be failing.
      await expect.poll(() => driver.set('key', 'text', 60_000).catch(() => false), { timeout: 10_000 }).toBe(true)
      expect(await driver.get('key')).toBe('text')

      await server().kill() // now with connections at rest in the pool
      await expectOutage(driver.get('key'))
      await expectOutage(driver.get('key'))
      await server().restart()
      await expect.poll(() => driver.get('key').catch(() => undefined), { timeout: 10_000 }).toBe('text')
      await driver.disconnect()
    })

    test('[R7] disconnect settles within 2 s on a database that is gone, or hangs, and again', async () => {
      const database = await server().createDatabase()
      for (const strike of ['kill', 'pause'] as const) {
        const driver = new DatabaseDriver(adapter(database), { prefix: 'app' })
        await driver.set('key', 'text')
        await server()[strike]()
        const hanging = driver.get('key').catch(() => undefined)
        const startedAt = Date.now()
        await driver.disconnect()
        await driver.namespace('users').disconnect()
        await driver.disconnect()
        expect(Date.now() - startedAt).toBeLessThan(2_000)
        if (strike === 'pause') server().resume()
        else await server().restart()
        await hanging
      }
    })
  })
}

describe('[R4] MariaDB, where the table of 1.6.1 folds keys', () => {
  const madeBy161 = async (database: string) => {
    const old = new OldKnex({ connection: toMariaDb(database) })
    old.setTableName('bentocache')
    await old.createTableIfNotExists()
    return old
  }
  const open = async (prepare: (database: string) => Promise<unknown>) => {
    const database = await mariadb.createDatabase()
    await prepare(database)
    const old = await madeBy161(database)
    const config = { connection: toMariaDb(database), prefix: 'app' }
    const driver = knexDriver(config).factory(config)
    const names = async () => (await mariadb.query(database, 'select `key` from bentocache order by `key`')).map(({ key }) => key)
    const close = () => Promise.all([driver.disconnect(), old.disconnect()])
    return { driver, old, names, close }
  }

  test('[R4] the first of two keys keeps its row, so that 1.6.1 goes on reading it', async () => {
    const { driver, old, names, close } = await open(async () => {})
    await driver.set('session:abc', 'abc')
    await driver.set('session:ABC', 'ABC')
    expect(await names()).toEqual(['app:session:abc', standInFor('app:session:ABC', 255)])
    expect((await old.get('app:session:abc'))!.value).toBe('abc')
    expect(await driver.delete('session:abc')).toBe(true)
    await driver.set('session:ABC', 'again') // its row is free now, and the stand-in goes
    expect(await names()).toEqual(['app:session:ABC'])
    expect(await driver.getMany(['session:abc', 'session:ABC'])).toEqual([undefined, 'again'])
    await close()
  })

  test('[R4] a key made to look like the stand-in of another one reads and writes only itself', async () => {
    const { driver, close } = await open(async () => {})
    await driver.set('session:abc', 'abc')
    await driver.set('session:ABC', 'secret')
    const forged = standInFor('app:session:ABC', 255).slice('app:'.length)
    for (const key of [forged, forged.toUpperCase(), `${forged} `]) {
      expect(await driver.get(key)).toBeUndefined()
      await driver.set(key, 'poison')
      expect(await driver.get(key)).toBe('poison')
      expect(['secret', undefined]).toContain(await driver.get('session:ABC'))
      expect(await driver.delete(key)).toBe(true)
      await driver.set('session:ABC', 'secret')
    }
    await close()
  })

  test('[R4] two processes write keys that fold together at once: nobody reads the other one', async () => {
    const { driver, close } = await open(async () => {})
    for (let round = 0; round < 20; round++) {
      const keys = ['a', 'A', 'a ', 'ä'].map((key) => `${round}:${key}`)
      await Promise.all(keys.map((key) => driver.set(key, `of ${key}`)))
      for (const [i, text] of (await driver.getMany(keys)).entries()) expect([`of ${keys[i]}`, undefined]).toContain(text)
      for (const key of keys) await driver.set(key, `again of ${key}`)
      expect(await driver.getMany(keys)).toEqual(keys.map((key) => `again of ${key}`))
    }
    await close()
  })

  test('[R4] a server that cuts what does not fit cuts no key', async () => {
    await mariadb.query('', "set global sql_mode = ''")
    for (const charset of ['utf8mb4', 'utf8mb3', 'latin1']) {
      const { driver, close } = await open((database) => mariadb.query('', `alter database ${database} character set ${charset}`))
      const keys = ['a', 'a🚀b', 'a🛸b', 'a漢', 'a字', 'a?', 'a??', 'é', 'e', 'É', '_', 'a_', 'a____b']
      for (const key of keys) await driver.set(key, `of ${keys.indexOf(key)}`)
      expect(await driver.getMany(keys)).toEqual(keys.map((_, i) => `of ${i}`))
      const tooLong = 'k'.repeat(252)
      await expect(driver.set(tooLong, 'text')).rejects.toThrow(errors.E_INVALID_KEY)
      expect(await driver.getMany([tooLong, tooLong.slice(0, 251)])).toEqual([undefined, undefined])
      await driver.namespace('é').set('1', 'text')
      await driver.namespace('漢🚀').set('1', 'text')
      await driver.namespace('é').clear()
      expect(await driver.getMany(['é:1', '漢🚀:1', 'é', 'e'])).toEqual([undefined, 'text', 'of 7', 'of 8'])
      await driver.namespace('漢🚀').clear()
      expect(await driver.get('漢🚀:1')).toBeUndefined()
      for (const key of keys) expect(await driver.delete(key)).toBe(true)
      expect((await driver.getMany(keys)).filter((text) => text !== undefined)).toEqual([])
      await close()
    }
    await mariadb.query('', "set global sql_mode = 'STRICT_TRANS_TABLES'")
  })

  test('[R4] clear walks through thousands of keys, and spares those that only fold together', async () => {
    const { driver, close } = await open(async () => {})
    const keys = Array.from({ length: 1_300 }, (_, i) => `users:${i}`)
    for (let at = 0; at < keys.length; at += 100) await Promise.all(keys.slice(at, at + 100).map((key) => driver.set(key, 'text')))
    await Promise.all(['Users:1', 'USERS:2000', 'üsers:3'].map((key) => driver.set(key, 'text')))
    await driver.namespace('users').clear()
    expect((await driver.getMany(keys)).filter((text) => text !== undefined)).toEqual([])
    expect(await driver.getMany(['Users:1', 'USERS:2000', 'üsers:3'])).toEqual(['text', 'text', 'text'])
    await close()
  })

  test('[R4] a new table needs none of this: its collation is of bytes', async () => {
    const database = await mariadb.createDatabase()
    const config = { connection: toMariaDb(database), prefix: 'app' }
    const driver = knexDriver(config).factory(config)
    for (const key of ['a', 'A', 'a ', 'ä']) await driver.set(key, 'text')
    const rows = await mariadb.query(database, 'select `key` from bentocache')
    expect(rows.map(({ key }) => key).sort()).toEqual(['app:A', 'app:a', 'app:a ', 'app:ä'])
    expect(rows.some(({ key }) => isStandIn(key))).toBe(false)
    await driver.disconnect()
  })

  test('an end beyond 2038, where a timestamp ends, is kept until then', async () => {
    const clock = timeFrom(Date.UTC(2037, 0, 1))
    const { old, close } = await open(async () => {})
    const database = `cache_${(await mariadb.query('', "show databases like 'cache%'")).length}`
    const config = { connection: toMariaDb(database), prefix: 'app', clock }
    const driver = knexDriver(config).factory(config)
    await driver.set('key', 'text', 20 * 365 * 86_400_000)
    expect(await driver.remainingTtl('key')).toBe(Date.UTC(2038, 0, 19, 3, 14, 7) - clock.now())
    expect((await old.get('app:key'))!.value).toBe('text')
    await driver.disconnect()
    await close()
  })
})

describe('an adapter of somebody else, as 1.6.1 asked for it', () => {
  const rows = new Map<string, { value: any; expiresAt: any }>()
  const called: unknown[][] = []
  const adapter: DatabaseAdapter = {
    setTableName: (...args) => void called.push(['setTableName', ...args]),
    get: async (key) => rows.get(key),
    set: async ({ key, value, expiresAt }) => void rows.set(key, { value, expiresAt }),
    delete: async (key) => rows.delete(key),
    deleteMany: async (keys) => keys.filter((key) => rows.delete(key)).length,
    clear: async (prefix) => void called.push(['clear', prefix]),
    createTableIfNotExists: async () => void called.push(['createTableIfNotExists']),
    pruneExpiredEntries: async () => void called.push(['pruneExpiredEntries']),
    disconnect: async () => {
      called.push(['disconnect'])
      throw new Error('already closed')
    },
  }

  test('it is asked the same things, whole keys, a Date or null, a prefix with its colon', async () => {
    const clock = timeFrom(1_000_000)
    const driver = new DatabaseDriver(adapter, { prefix: 'app', clock })
    const users = driver.namespace('users')
    await users.set('1', 'text', 500.5)
    await driver.set('for ever', 'text')
    expect([...rows]).toEqual([
      ['app:users:1', { value: 'text', expiresAt: new Date(1_000_501) }],
      ['app:for ever', { value: 'text', expiresAt: null }],
    ])
    expect(await driver.getMany(['users:1', 'for ever', 'x'])).toEqual(['text', 'text', undefined])
    clock.pass(501)
    expect(await users.get('1')).toBeUndefined()
    expect([...rows.keys()]).toEqual(['app:for ever'])
    expect([await driver.deleteMany(['for ever', 'for ever']), await driver.deleteMany(['x']), await driver.deleteMany([])]).toEqual([true, false, true])
    await users.clear()
    await driver.prune()
    await users.disconnect()
    await driver.disconnect()
    expect(called).toEqual([
      ['setTableName', 'bentocache'],
      ['createTableIfNotExists'],
      ['clear', 'app:users:'],
      ['pruneExpiredEntries'],
      ['disconnect'],
    ])
  })
})

test('what is no connection is refused when the adapter is made', () => {
  for (const Adapter of [KnexAdapter, KyselyAdapter, OrchidAdapter]) {
    for (const connection of [undefined, null, {}, 'postgres://']) {
      expect(() => new Adapter({ connection: connection as any })).toThrow(errors.E_INVALID_OPTION)
    }
  }
})
