import { setTimeout as sleep } from 'node:timers/promises'
import { Keyv as Keyv5 } from 'keyv'
import { Keyv as Keyv6 } from 'keyv-6'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { redisDriver } from '../../src/drivers/redis/redis.js'
import { BentoCache, bentostore } from '../../src/index.js'
import type { RawBentoCacheOptions } from '../../src/types.js'
import { keyvStore } from '../../src/integrations/keyv/keyv.js'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

const caches: BentoCache<any>[] = []
afterEach(async () => {
  await Promise.all(caches.splice(0).map((cache) => cache.disconnectAll()))
})

const shapes = {
  memory: () => bentostore().useL1Layer(memoryDriver()),
  'memory and Redis': () => bentostore().useL1Layer(memoryDriver()).useL2Layer(redisDriver({ connection: redis.client() })),
  Redis: () => bentostore().useL2Layer(redisDriver({ connection: redis.client() })),
}

function cacheOf(main = shapes.memory(), o: RawBentoCacheOptions = {}): BentoCache<any> {
  const cache = new BentoCache({ default: 'main', prefix: `keyv-${caches.length}`, ...o, stores: { main } })
  caches.push(cache)
  return cache
}

const majors = {
  'Keyv 5': (store: any, o: object = {}) => new Keyv5(store, { throwOnErrors: true, ...o }) as any,
  'Keyv 6': (store: any, o: object = {}) => new Keyv6(store, o) as any,
}
const cases = Object.entries(majors).flatMap(([major, make]) => Object.entries(shapes).map(([shape, main]) => ({ major, shape, make, main })))

describe.each(cases)('$major on $shape', ({ make, main, major }) => {
  test('keeps what it is given, as it was', async () => {
    const keyv = make(keyvStore(cacheOf(main())))
    for (const value of ['text', '', 5, 0, false, true, null, { a: [1, { b: 'é 🚀' }] }, [null]]) {
      expect(await keyv.set('key', value)).toBe(true)
      expect(await keyv.get('key')).toEqual(value)
    }
    expect(await keyv.get('missing')).toBeUndefined()
  })

  test('a ttl ends a value, and without one it stays', async () => {
    const keyv = make(keyvStore(cacheOf(main(), { grace: '1h' })))
    await keyv.set('short', 1, 150)
    await keyv.set('long', 2, 60_000)
    await keyv.set('for ever', 3)
    expect(await keyv.get('short')).toBe(1)
    expect(await keyv.has('short')).toBe(true)
    await sleep(200)
    expect([await keyv.get('short'), await keyv.get('long'), await keyv.get('for ever')]).toEqual([undefined, 2, 3])
    expect([await keyv.has('short'), await keyv.has('long'), await keyv.has('for ever')]).toEqual([false, true, true])
  })

  test('the cache itself ends it as well, so that its memory is not for ever', async () => {
    const cache = cacheOf(main())
    const keyv = make(keyvStore(cache), { namespace: 'n' })
    await keyv.set('key', 1, 150)
    const key = major === 'Keyv 5' ? 'n:key' : 'key'
    expect(await cache.namespace('n').has({ key })).toBe(true)
    await sleep(200)
    expect(await cache.namespace('n').has({ key })).toBe(false)
  })

  test('many at once', async () => {
    const keyv = make(keyvStore(cacheOf(main())))
    const entries = [{ key: 'a', value: 1 }, { key: 'b', value: 2, ttl: 60_000 }, { key: 'c', value: 3, ttl: 100 }]
    expect(await keyv.setMany(entries)).toEqual([true, true, true])
    expect(await keyv.get(['a', 'b', 'c', 'd'])).toEqual([1, 2, 3, undefined])
    await sleep(150)
    expect(await keyv.hasMany(['a', 'b', 'c', 'd'])).toEqual([true, true, false, false])
    const six = major === 'Keyv 6'
    expect(await keyv.deleteMany(['a', 'd'])).toEqual(six ? [true, false] : false)
    expect(await keyv.deleteMany(['b'])).toEqual(six ? [true] : true)
    expect(await keyv.getMany(['a', 'b'])).toEqual([undefined, undefined])
  })

  test('delete says whether there was something', async () => {
    const keyv = make(keyvStore(cacheOf(main())))
    await keyv.set('key', 1)
    expect([await keyv.delete('key'), await keyv.delete('key'), await keyv.get('key')]).toEqual([true, false, undefined])
  })

  test('clear takes its own namespace and nothing else', async () => {
    const cache = cacheOf(main())
    const [a, b] = [make(keyvStore(cache), { namespace: 'a' }), make(keyvStore(cache), { namespace: 'b' })]
    await Promise.all([a.set('key', 1), b.set('key', 2), cache.set({ key: 'key', value: 3 })])
    await a.clear()
    expect([await a.get('key'), await b.get('key'), await cache.get({ key: 'key' })]).toEqual([undefined, 2, 3])
  })

  test('disconnect closes the cache', async () => {
    const cache = cacheOf(main())
    const disconnect = vi.spyOn(cache, 'disconnect')
    await make(keyvStore(cache)).disconnect()
    expect(disconnect).toHaveBeenCalledOnce()
  })
})

describe('between processes', () => {
  test.each(Object.entries(majors))('%s sees what another process wrote and removed', async (_, make) => {
    const main = shapes['memory and Redis']
    const [a, b] = [0, 1].map(() => make(keyvStore(cacheOf(main(), { prefix: 'shared' }))))
    await a.set('key', 'first')
    expect(await b.get('key')).toBe('first')
    await a.set('key', 'second')
    await vi.waitFor(async () => expect(await b.get('key')).toBe('second'), 5_000)
    await b.delete('key')
    await vi.waitFor(async () => expect(await a.get('key')).toBeUndefined(), 5_000)
  })

  test('Keyv 5 and Keyv 6 share a store of the cache', async () => {
    const cache = cacheOf()
    const [five, six] = [majors['Keyv 5'](keyvStore(cache), { namespace: '' }), majors['Keyv 6'](keyvStore(cache))]
    await five.set('key', { a: 1 }, 60_000)
    expect(await six.get('key')).toEqual({ a: 1 })
    await six.set('key', [2], 60_000)
    expect(await five.get('key')).toEqual([2])
  })
})

describe('errors', () => {
  test.each(Object.entries(majors))('%s tells its listeners of an L2 that is away, if errors are not suppressed', async (_, make) => {
    const server = await startRedis()
    const main = bentostore().useL2Layer(redisDriver({ connection: server.client() }))
    const keyv = make(keyvStore(cacheOf(main, { suppressL2Errors: false, l2Timeout: 500 })), { throwOnErrors: false })
    await keyv.set('key', 1)
    await server.kill()
    const told = vi.fn<(error: any) => void>()
    keyv.on('error', told)
    expect(await keyv.get('key')).toBeUndefined()
    expect(told.mock.calls.map(([error]) => error.code)).toEqual(['E_L2_CACHE_ERROR'])
    expect(await keyv.set('key', 2)).toBe(false)
    expect(told).toHaveBeenCalledTimes(2)
    await server.stop()
  })
})

test('types: a cache and each of its stores are accepted, and Keyv accepts what comes out', () => {
  const cache = cacheOf()
  const five = new Keyv5(keyvStore(cache))
  const six = new Keyv6({ store: keyvStore(cache.use('main')) })
  expect([five.store.opts.dialect, six.store.capabilities?.expires]).toEqual(['bentocache', true])
})
