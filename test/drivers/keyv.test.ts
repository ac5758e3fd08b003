import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KeyvPostgres } from '@keyv/postgres'
import KeyvRedis from '@keyv/redis'
import { Keyv as Keyv5 } from 'keyv'
import { Keyv as Keyv6, KeyvMemoryAdapter } from 'keyv-6'
import { KeyvFile } from 'keyv-file'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { storageCases } from '../../src/conformance/index.js'
import { KeyvDriver, keyvDriver } from '../../src/drivers/keyv/keyv.js'
import type { KeyvConfig, KeyvConnection } from '../../src/drivers/keyv/keyv.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { BentoCache, bentostore, errors } from '../../src/index.js'
import { VirtualClock } from '../support/clock.js'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'
import { startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'

const home = mkdtempSync(join(tmpdir(), 'bentocache-keyv-'))
const opened: { disconnect(): Promise<unknown> }[] = []
let redis: RedisServer
let postgres: SqlServer
let database: string
beforeAll(async () => {
  ;[redis, postgres] = await Promise.all([startRedis(), startPostgres()])
  database = await postgres.createDatabase()
})
afterAll(async () => {
  await Promise.allSettled(opened.map((one) => one.disconnect())) // @keyv/postgres shares a pool and ends it for each
  await Promise.all([redis.stop(), postgres.stop()])
  rmSync(home, { recursive: true, force: true })
})

/** Closed when all is over. */
function keep<T extends { disconnect(): Promise<unknown> }>(one: T): T {
  opened.push(one)
  return one
}

const redisAdapter = () => keep(new KeyvRedis(redis.url))
const postgresAdapter = () => keep(new KeyvPostgres({ uri: `${postgres.url}/${database}`, table: 'keyv', keySize: 1_000 }))

/** What people give to Keyv, and what they would give to us. */
const stores: Record<string, () => KeyvConnection> = {
  'Keyv 5 on a Map': () => new Keyv5(),
  'Keyv 6 on a Map': () => new Keyv6(),
  'Keyv 6 on a Map, with a namespace': () => new Keyv6({ namespace: 'app' }),
  'a Map': () => new Map(),
  'the memory adapter of Keyv 6': () => new KeyvMemoryAdapter(new Map()),
  'Keyv 5 on @keyv/redis': () => new Keyv5(redisAdapter()),
  'Keyv 5 on @keyv/redis, made as its manual says': () => new Keyv5(redisAdapter(), { useKeyPrefix: false, namespace: 'app' }),
  'Keyv 6 on @keyv/redis': () => new Keyv6(redisAdapter()),
  '@keyv/redis alone': redisAdapter,
  'Keyv 5 on @keyv/postgres': () => new Keyv5(postgresAdapter()),
  'Keyv 6 on @keyv/postgres': () => new Keyv6(postgresAdapter(), { namespace: 'six' }),
  // With a namespace its iterator needs Node 22.
  'Keyv 5 on keyv-file': () => new Keyv5(new KeyvFile({ filename: join(home, 'file.json'), writeDelay: 1 }), { namespace: '' }),
}

const driverOf = (connection: KeyvConfig['connection'], o: Partial<KeyvConfig> = {}) => new KeyvDriver({ connection, prefix: 'bentocache', ...o })

describe.each(Object.entries(stores))('storage in %s', (_, make) => {
  let store: KeyvConnection
  beforeAll(() => {
    store = make()
  })
  for (const { name, run } of storageCases) {
    test(name, () => run({ assert, createDriver: ({ prefix = 'kit' } = {}) => driverOf(store, { prefix }) }))
  }

  test('keys with two colons in a row are cleared like others', async () => {
    const driver = driverOf(store)
    for (const key of ['a::b', 'a:\\:b', ':::', 'users::1']) await driver.set(key, `of ${key}`)
    expect(await driver.getMany(['a::b', 'a:\\:b', ':::', 'users::1'])).toEqual(['of a::b', 'of a:\\:b', 'of :::', 'of users::1'])
    await driver.clear()
    expect(await driver.getMany(['a::b', 'a:\\:b', ':::', 'users::1'])).toEqual([undefined, undefined, undefined, undefined])
  })

  test('a cache on it is shared by two processes', async () => {
    const cacheOf = () =>
      new BentoCache({
        default: 'main',
        stores: { main: bentostore().useL1Layer(memoryDriver()).useL2Layer(keyvDriver({ connection: store })) },
      })
    const [a, b] = [cacheOf(), cacheOf()]
    const factory = vi.fn<() => object>(() => ({ name: 'Ada' }))
    expect(await a.getOrSet({ key: 'user', factory, ttl: '1h', tags: ['users'] })).toEqual({ name: 'Ada' })
    expect(await b.getOrSet({ key: 'user', factory, ttl: '1h' })).toEqual({ name: 'Ada' })
    expect(factory).toHaveBeenCalledOnce()
    await a.deleteByTag({ tags: ['users'] })
    const c = cacheOf()
    expect(await c.get({ key: 'user' })).toBeUndefined()
    await a.namespace('n').set({ key: 'k', value: 1 })
    await a.namespace('n').clear()
    expect(await c.namespace('n').get({ key: 'k' })).toBeUndefined()
    await Promise.all([a, b, c].map((cache) => cache.disconnectAll()))
  })

  test('disconnecting leaves it open', async () => {
    const one = driverOf(store, { prefix: 'one' })
    await one.set('key', 'text')
    await one.disconnect()
    expect(await driverOf(store, { prefix: 'one' }).get('key')).toBe('text')
    await expect(one.get('key')).rejects.toThrow('disconnected')
  })
})

describe('beside others', () => {
  test('what Keyv keeps for the program is not cleared', async () => {
    const keyvs: KeyvConnection[] = [new Keyv5(), new Keyv6({ namespace: 'app' }), new Keyv5(redisAdapter())]
    for (const keyv of keyvs) {
      const driver = driverOf(keyv)
      await keyv.set('mine', { a: 1 })
      await keyv.set('bentocache', 'mine too')
      await driver.set('key', 'text')
      await driver.namespace('users').set('1', 'text')
      await driver.clear()
      expect([await keyv.get('mine'), await keyv.get('bentocache')]).toEqual([{ a: 1 }, 'mine too'])
      expect(await driver.getMany(['key', 'users:1'])).toEqual([undefined, undefined])
    }
  })

  test('an entry seen through Keyv is an entry, and what Keyv wrote under our key is a miss', async () => {
    const keyvs: KeyvConnection[] = [new Keyv5(), new Keyv6()]
    for (const keyv of keyvs) {
      const driver = driverOf(keyv)
      await driver.set('key', '{"value":"é","createdAt":1}', 60_000)
      expect(await keyv.get('bentocache:key')).toEqual({ value: 'é', createdAt: 1 })
      const bento = new BentoCache({ default: 'main', stores: { main: bentostore().useL2Layer(keyvDriver({ connection: keyv })) } })
      for (const value of ['text', 5, null, { value: 1 }, [1]]) {
        await keyv.set('bentocache:theirs', value, 60_000)
        expect(await bento.getOrSet({ key: 'theirs', factory: () => 'ours', ttl: '1m' })).toBe('ours')
        expect(await bento.get({ key: 'theirs' })).toBe('ours')
      }
      await bento.disconnect()
    }
  })

  test('the text is stored once escaped, not twice', async () => {
    const map = new Map()
    await driverOf(map).set('key', '{"value":"\\"quoted\\""}')
    await driverOf(new Keyv5(map)).set('key', '{"value":"\\"quoted\\""}', 1_000)
    expect([...map.keys()]).toEqual(['bentocache:key', 'keyv:bentocache:key'])
    expect(map.get('bentocache:key')).toBe('{"value":{"value":"\\"quoted\\""}}')
    expect(map.get('keyv:bentocache:key')).toMatch(/^\{"expires":\d{13},"value":\{"value":"\\"quoted\\""\}\}$/)
  })
})

describe('a store that knows no ttl', () => {
  test('serves nothing beyond its end, and prunes', async () => {
    const [map, clock] = [new Map(), new VirtualClock()]
    const driver = driverOf(map, { clock, pruneInterval: '1h' })
    await driver.set('short', 'text', 1_000)
    await driver.set('long', 'text', 7_200_000)
    await driver.namespace('users').set('short', 'text', 1_000)
    map.set('theirs', '{"expires":1,"value":1}')
    await clock.advance(1_000)
    expect(await driver.getMany(['short', 'long', 'users:short'])).toEqual([undefined, 'text', undefined])
    expect([await driver.remainingTtl('short'), await driver.remainingTtl('long')]).toEqual([0, 7_199_000])
    expect(map.size).toBe(4)
    await clock.advance(3_600_000)
    await vi.waitFor(() => expect([...map.keys()]).toEqual(['bentocache:long', 'theirs']))
    await driver.disconnect()
  })
})

describe('a store that cannot list its keys', () => {
  const blind = (map = new Map()) => ({
    get: async (key: string) => map.get(key),
    set: async (key: string, value: unknown) => void map.set(key, value),
    delete: async (key: string) => map.delete(key),
    clear: async () => map.clear(),
  })

  test('is refused, because clear would remove what is others’', () => {
    for (const store of [blind(), new Keyv5(blind() as any), new Keyv6(blind())]) {
      expect(() => keyvDriver({ connection: store })).toThrow(errors.E_INVALID_OPTION)
      expect(() => keyvDriver({ connection: store })).toThrow(/exclusive: true/)
    }
  })

  test('is emptied by clear, if nobody else is in it', async () => {
    for (const store of [blind(), new Keyv5(blind() as any), new Keyv6(blind())]) {
      expect(keyvDriver({ connection: store, exclusive: true }).options['exclusive']).toBe(true)
      const driver = driverOf(store, { exclusive: true })
      await driver.set('key', 'text')
      await driver.namespace('users').set('1', 'text')
      await driver.namespace('users').clear()
      expect(await driver.getMany(['key', 'users:1'])).toEqual([undefined, undefined])
    }
  })
})

describe('connection', () => {
  test('a function is called once, when it is first needed, and what it made is closed', async () => {
    const adapter = new KeyvRedis(redis.url)
    const make = vi.fn<() => Promise<Keyv5>>(async () => new Keyv5(adapter))
    const driver = driverOf(make)
    expect(make).not.toHaveBeenCalled()
    await Promise.all([driver.set('a', '1'), driver.namespace('users').set('b', '2')])
    expect(await driver.getMany(['a', 'users:b'])).toEqual(['1', '2'])
    expect(make).toHaveBeenCalledOnce()
    await driver.clear()
    await Promise.all([driver.disconnect(), driver.namespace('users').disconnect()])
    expect(adapter.client.isOpen).toBe(false)
  })

  test('a function that failed is called again', async () => {
    const make = vi.fn<() => Keyv5>(() => new Keyv5()).mockImplementationOnce(() => {
      throw new Error('not yet')
    })
    const driver = driverOf(make)
    await expect(driver.get('key')).rejects.toThrow('not yet')
    expect(await driver.get('key')).toBeUndefined()
    expect(make).toHaveBeenCalledTimes(2)
  })

  test('anything else is refused', async () => {
    for (const connection of [undefined, null, {}, 'redis://localhost', { get() {} }]) {
      expect(() => keyvDriver({ connection: connection as never })).toThrow(errors.E_INVALID_OPTION)
    }
    await expect(driverOf(() => ({}) as never).get('key')).rejects.toThrow(errors.E_INVALID_OPTION)
  })

  test('no listener is left behind', async () => {
    const adapter = redisAdapter()
    await driverOf(adapter).get('key')
    const before = adapter.listeners('error').length
    for (let i = 0; i < 5; i++) {
      const driver = driverOf(adapter)
      await driver.get('key')
      await driver.disconnect()
    }
    expect(adapter.listeners('error').length).toBe(before)
  })
})

describe('a server that is away', () => {
  test('what an adapter keeps quiet is a failure: strict calls reject, others go on without L2', async () => {
    const server = await startRedis()
    const adapter = keep(new KeyvRedis(server.url, { throwOnErrors: false, connectionTimeout: 500 }))
    const driver = driverOf(adapter)
    await driver.set('key', 'text')
    const bento = new BentoCache({
      default: 'main',
      l2Timeout: '1s',
      stores: { main: bentostore().useL1Layer(memoryDriver()).useL2Layer(keyvDriver({ connection: adapter })) },
    })
    expect(await bento.set({ key: 'before', value: 1 })).toBe(true)
    ;(adapter.client as any).options.disableOfflineQueue = true
    await server.kill()
    await vi.waitFor(() => expect(driver.get('key')).rejects.toThrow(Error))
    await expect(driver.set('key', 'text')).rejects.toThrow(Error)
    await expect(driver.getMany(['key', 'other'])).rejects.toThrow(Error)
    await expect(driver.delete('key')).rejects.toThrow(Error)
    await expect(driver.deleteMany(['key'])).rejects.toThrow(Error)
    await expect(driver.clear()).rejects.toThrow(Error)
    await expect(bento.set({ key: 'strict', value: 1, suppressL2Errors: false })).rejects.toThrow(errors.E_L2_CACHE_ERROR)
    expect(await bento.getOrSet({ key: 'loose', factory: () => 'value' })).toBe('value')
    expect(await bento.get({ key: 'before' })).toBe(1)
    await bento.disconnectAll()
    await driver.disconnect()
    await server.stop()
  })
})
