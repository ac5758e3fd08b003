import assert from 'node:assert/strict'
import { describe, expect, test } from 'vitest'
import { storageCases } from '../../src/conformance/index.js'
import { DatabaseDriver } from '../../src/drivers/database/database.js'
import type { DatabaseAdapter, DatabaseConfig, DatabaseGiven } from '../../src/drivers/database/database.js'
import { DatabaseDriver as OldDriver } from '../../bench/node_modules/bentocache/build/src/drivers/database/database.js'
import { upgradeTogether } from './both-versions.js'

/** A query builder on one engine, ours and 1.6.1's adapters over it. */
export interface SqlSubject {
  /** A connection of its own, to the same database each time. */
  connect(): any
  adapter(config: { connection: any } & DatabaseGiven): DatabaseAdapter
  oldAdapter(config: { connection: any }): DatabaseAdapter
  /** A statement past all adapters. */
  query(sql: string): Promise<any[]>
  /** What 1.6.1's tables keep of a ttl, in ms. */
  oldGranularity?: number
}

export interface Time {
  now(): number
  setTimeout(callback: () => void, delay: number): unknown
  clearTimeout(handle: unknown): void
  /** Moves the hands; timers are not fired. */
  pass(ms: number): void
}

export function timeFrom(start = Date.now()): Time {
  let now = start
  return { now: () => now, setTimeout: () => undefined, clearTimeout: () => {}, pass: (ms) => void (now += ms) }
}

let count = 0
const newTable = () => `cache_table_${++count}`

/**
 * What must be true of every adapter on every engine. `subject` is asked when the tests run.
 * `isOwnLayout`: 1.6.1's table keeps keys and ends in another way than ours does.
 * `isOldBroken`: 1.6.1's adapter cannot store a ttl in the table that it makes.
 */
export function describeSql(title: string, { isOwnLayout = false, isOldBroken = false }, subject: () => SqlSubject): void {
  const driverOf = (tableName: string, o: DatabaseConfig & DatabaseGiven & { connection?: any } = {}) => {
    const config = { tableName, prefix: 'bentocache', ...o }
    return new DatabaseDriver(subject().adapter({ connection: subject().connect(), ...config }), config)
  }
  /** 1.6.1's adapter under our driver: what the adapter stores is what 1.6.1 stores. */
  const oldOf = (tableName: string) => {
    const adapter = subject().oldAdapter({ connection: subject().connect() })
    return new DatabaseDriver(adapter, { tableName, prefix: 'bentocache' })
  }
  const made = async <D extends { disconnect(): Promise<void> }>(driver: D, use: (driver: D) => Promise<unknown>) => {
    try {
      await use(driver)
    } finally {
      await driver.disconnect()
    }
  }

  describe(`${title}: storage`, () => {
    const tableName = newTable()
    for (const { name, run } of storageCases) {
      test(name, () => run({ assert, createDriver: ({ prefix = 'kit' } = {}) => driverOf(tableName, { prefix }) }))
    }
  })

  if (isOwnLayout) {
    describe(`${title}: storage, in a table made by 1.6.1`, () => {
      const tableName = newTable()
      const createDriver = ({ prefix = 'kit' } = {}) => driverOf(tableName, { prefix })
      for (const { name, run } of storageCases) {
        test(name, async () => {
          await made(oldOf(tableName), (driver) => driver.clear())
          await run({ assert, ttlGranularity: subject().oldGranularity ?? 100, longestText: 60_000, createDriver })
        })
      }
    })
  }

  describe(title, () => {
    test('[14] [N15] a ttl is kept in a table of any maker', async () => {
      for (const make of [oldOf, driverOf]) {
        const tableName = newTable()
        await made(make(tableName), (driver) => driver.set('made', 'text'))
        const clock = timeFrom()
        await made(driverOf(tableName, { clock }), async (driver) => {
          await driver.set('hour', 'text', 3_600_000)
          await driver.set('day', 'text', 86_400_000)
          expect(Math.abs((await driver.remainingTtl('hour')) - 3_600_000)).toBeLessThanOrEqual(1_000)
          expect(await driver.getMany(['made', 'hour', 'day'])).toEqual(['text', 'text', 'text'])
          clock.pass(3_601_001)
          expect(await driver.getMany(['made', 'hour', 'day'])).toEqual(['text', undefined, 'text'])
          await driver.prune()
          const rows = await subject().query(`select * from ${tableName}`)
          expect(rows.map(({ key }) => key).sort()).toEqual(['bentocache:day', 'bentocache:made'])
        })
      }
    })

    test('what 1.6.1 wrote is read, and the reverse', async () => {
      const tableName = newTable()
      const ttl = isOldBroken ? undefined : 60_000
      await made(oldOf(tableName), (theirs) =>
        made(driverOf(tableName), async (ours) => {
          const keys = ['key', 'users:1', 'userProfile:é']
          for (const key of keys) await theirs.set(key, `of ${key}`, ttl)
          expect(await ours.getMany(keys)).toEqual(keys.map((key) => `of ${key}`))
          if (ttl !== undefined) expect(Math.abs((await ours.remainingTtl('key')) - ttl)).toBeLessThan(5_000)
          for (const key of keys) await ours.set(key, `new of ${key}`, 60_000)
          for (const key of keys) expect(await theirs.get(key)).toBe(`new of ${key}`)
          expect(await theirs.delete('key')).toBe(true)
          await theirs.namespace('users').clear()
          expect(await ours.getMany(keys)).toEqual([undefined, undefined, 'new of userProfile:é'])
        })
      )
    })

    test('1.6.1 reads a table that ours made', async () => {
      const tableName = newTable()
      await made(driverOf(tableName), (ours) =>
        made(oldOf(tableName), async (theirs) => {
          await ours.set('key', 'text', 60_000)
          await ours.set('for ever', 'text')
          expect([await theirs.get('key'), await theirs.get('for ever')]).toEqual(['text', 'text'])
          await theirs.set('theirs', 'text')
          expect(await ours.get('theirs')).toBe('text')
        })
      )
    })

    if (!isOldBroken) {
      test('caches of both versions share a table, whoever made it', async () => {
        for (const make of [oldOf, driverOf]) {
          const tableName = newTable()
          await made(make(tableName), (driver) => driver.set('made', 'text'))
          const adapter: any = subject().oldAdapter({ connection: subject().connect() })
          const theirs = new OldDriver(adapter, { tableName, prefix: 'bentocache', pruneInterval: false })
          await upgradeTogether({ ours: driverOf(tableName), theirs })
        }
      })
    }

    test('[15] the first operation of any view makes the table, and only one does', async () => {
      const tableName = newTable()
      let creations = 0
      const config = { tableName, prefix: 'bentocache' }
      const adapter = subject().adapter({ connection: subject().connect() })
      const create = adapter.createTableIfNotExists.bind(adapter)
      adapter.createTableIfNotExists = () => (creations++, create())
      await made(new DatabaseDriver(adapter, config), async (driver) => {
        const users = driver.namespace('users')
        await Promise.all([users.set('1', 'text'), driver.namespace('posts').get('1'), driver.get('x')])
        expect([await driver.get('users:1'), creations]).toEqual(['text', 1])
      })
    })

    test('two processes make the table at once', async () => {
      for (let round = 0; round < 3; round++) {
        const tableName = newTable()
        const drivers = [driverOf(tableName), driverOf(tableName), driverOf(tableName)]
        await Promise.all(drivers.map((driver, i) => driver.set(`key${i}`, 'text')))
        expect(await drivers[0]!.getMany(['key0', 'key1', 'key2'])).toEqual(['text', 'text', 'text'])
        await Promise.all(drivers.map((driver) => driver.disconnect()))
      }
    })

    test('autoCreateTable: false makes none', async () => {
      await made(driverOf(newTable(), { autoCreateTable: false }), async (driver) => {
        await expect(driver.get('key')).rejects.toThrow()
      })
    })

    test('[36] without a prefix, clear empties the table', async () => {
      const tableName = newTable()
      await made(driverOf(tableName, { prefix: '' }), async (driver) => {
        await driver.set('key', 'text')
        await driver.namespace('users').set('1', 'text')
        await driver.clear()
        expect(await subject().query(`select * from ${tableName}`)).toEqual([])
      })
    })

    test('[37] clear of a* spares abc, a_b spares axb, % and \\ are themselves', async () => {
      for (const make of [oldOf, driverOf]) {
        const tableName = newTable()
        await made(make(tableName), (driver) => driver.set('made', 'text'))
        await made(driverOf(tableName), async (driver) => {
          for (const [name, spared] of [['a*', 'abc'], ['a_b', 'axb'], ['a%', 'abc'], ['a\\', 'ab'], ['\\%', '\\x']] as const) {
            await driver.namespace(name).set('key', 'text')
            await driver.namespace(spared).set('key', 'text')
            await driver.namespace(name).clear()
            expect(await driver.getMany([`${name}:key`, `${spared}:key`, 'made'])).toEqual([undefined, 'text', 'text'])
          }
        })
      }
    })

    test('[38] a value set for ever loses the end it had', async () => {
      const clock = timeFrom()
      await made(driverOf(newTable(), { clock }), async (driver) => {
        await driver.set('key', 'hour', 3_600_000)
        await driver.set('key', 'for ever')
        expect(await driver.remainingTtl('key')).toBe(Infinity)
        clock.pass(7_200_000)
        expect(await driver.get('key')).toBe('for ever')
      })
    })

    test('[38] deleteMany of 40,000 keys deletes them', async () => {
      await made(driverOf(newTable()), async (driver) => {
        const keys = Array.from({ length: 40_000 }, (_, i) => `key${i}`)
        const some = keys.filter((_, i) => i % 400 === 0)
        for (const key of some) await driver.set(key, 'text')
        await driver.set('other', 'text')
        expect(await driver.deleteMany(keys)).toBe(true)
        expect((await driver.getMany([...some, 'other'])).filter((text) => text !== undefined)).toEqual(['text'])
        expect(await driver.deleteMany(keys)).toBe(false)
      })
    })

    test('an expired row is removed when it is read, unless it has been written anew', async () => {
      const tableName = newTable()
      const clock = timeFrom()
      const adapter = subject().adapter({ connection: subject().connect(), clock })
      await made(new DatabaseDriver(adapter, { tableName, clock }), async (driver) => {
        await driver.set('key', 'text', 1_000)
        clock.pass(3_000)
        // A reads the expired row, B writes the key, A removes what it takes for expired.
        await driver.set('key', 'new', 60_000)
        await adapter.deleteIfExpired!('key')
        expect(await driver.get('key')).toBe('new')
        clock.pass(62_000)
        expect(await driver.get('key')).toBeUndefined()
        expect(await subject().query(`select * from ${tableName}`)).toEqual([])
      })
    })

    test('[R4] keys compare byte for byte, also in a table made by 1.6.1', async () => {
      for (const make of [oldOf, driverOf]) {
        const tableName = newTable()
        await made(make(tableName), (driver) => driver.set('made', 'text'))
        await made(driverOf(tableName), async (driver) => {
          const keys = ['session:abc', 'session:ABC', 'session:abc ', 'session:äbc', 'Users:1', 'users:1', 'users :1']
          for (const key of keys) {
            expect(await driver.get(key)).toBeUndefined()
            await driver.set(key, `of ${key}`)
          }
          expect(await driver.getMany(keys)).toEqual(keys.map((key) => `of ${key}`))
          await driver.namespace('users').clear()
          expect(await driver.getMany(keys.slice(4))).toEqual(['of Users:1', undefined, 'of users :1'])
          expect(await driver.delete('session:ABC')).toBe(true)
          expect(await driver.getMany(keys.slice(0, 3))).toEqual(['of session:abc', undefined, 'of session:abc '])
          expect(await driver.pull('session:abc ')).toBe('of session:abc ')
          expect(await driver.get('session:abc')).toBe('of session:abc')
        })
      }
    })

    test('[R4] a key too long for its column, or no Unicode, is an error and never a part of another', async () => {
      await made(driverOf(newTable()), async (driver) => {
        await driver.set('x\ufffd', 'text')
        for (const half of ['x\ud800', 'x\udfff']) {
          await expect(driver.set(half, 'other')).rejects.toMatchObject({ code: 'E_INVALID_KEY' })
          await expect(driver.get(half)).rejects.toMatchObject({ code: 'E_INVALID_KEY' })
        }
        expect(await driver.get('x\ufffd')).toBe('text')
        const longest = 'k'.repeat(255 - 'bentocache:'.length)
        await driver.set(longest, 'text')
        const outcome = await driver.set(longest + 'k', 'other').catch((error) => error)
        // SQLite and orchid's tables have no longest key.
        expect(await driver.get(longest + 'k')).toBe(outcome === true ? 'other' : undefined)
        if (outcome !== true) expect(outcome).toBeInstanceOf(Error)
        expect([await driver.get(longest), await driver.get(longest + 'kk')]).toEqual(['text', undefined])
      })
    })

    test('[51 K] disconnect closes the connection of the user', async () => {
      const connection = subject().connect()
      const driver = driverOf(newTable(), { connection })
      await driver.set('key', 'text')
      await driver.namespace('users').disconnect()
      await expect(driver.get('key')).rejects.toThrow()
    })

    test('[40] [N21] pruning is off unless asked for', async () => {
      const delays: number[] = []
      const clock = { ...timeFrom(), setTimeout: (_: () => void, delay: number) => void delays.push(delay) }
      const options = [{}, { pruneInterval: false }, { pruneInterval: null }, { pruneInterval: '30s' }] as const
      for (const o of options) await driverOf(newTable(), { ...o, clock }).disconnect()
      expect(delays).toEqual([30_000])
    })
  })
}
