import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BentoCache, bentostore, errors } from '../../src/index.js'
import type { RawBentoCacheOptions } from '../../src/base/options.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { redisBusDriver, redisDriver } from '../../src/drivers/redis/redis.js'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'
import { errorOf, unhandledDuring } from '../support/stores.js'
import type { Process } from '../support/stores.js'

interface Shape {
  hasL1?: boolean
  hasBus?: boolean
  leases?: boolean
  connection?: any
  driverPrefix?: string
}

let server: RedisServer
let raw: Redis
const open = new Set<Process>()

beforeAll(async () => {
  server = await startRedis()
  raw = server.client()
})
beforeEach(() => raw.flushall())
afterAll(async () => {
  await Promise.all([...open].map((one) => one.disconnectAll()))
  await server.stop()
})

/** One more process, with connections of its own. */
function connect(shape: Shape = {}, options: Partial<RawBentoCacheOptions> = {}): Process {
  const { hasL1 = true, hasBus = false, leases = true } = shape
  const connection = shape.connection ?? { host: server.host, port: server.port, connectionName: `${Math.random()}` }
  const main = bentostore({ leases }).useL2Layer(redisDriver({ connection, ...(shape.driverPrefix && { prefix: shape.driverPrefix }) }))
  if (hasL1) main.useL1Layer(memoryDriver())
  if (hasBus) main.useBus(redisBusDriver({ connection }))
  const bento = new BentoCache({ ttl: '1h', ...options, default: 'main', stores: { main } })
  open.add(bento)
  bento.use()
  return bento
}

async function until(isSo: () => Promise<boolean> | boolean, ms = 5_000): Promise<void> {
  const end = Date.now() + ms
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`not so within ${ms} ms: ${isSo}`)
    await sleep(5)
  }
}

async function timed<T>(work: () => Promise<T>): Promise<[number, T]> {
  const startedAt = Date.now()
  const result = await work()
  return [Date.now() - startedAt, result]
}

const SHAPES: [string, Shape][] = [
  ['Redis alone', { hasL1: false }],
  ['L1 and Redis', {}],
  ['L1, Redis and bus, without leases', { hasBus: true, leases: false }],
]

describe.each(SHAPES)('%s', (_, shape) => {
  test('[28] expire and deleteByTag leave a key the time it had; for ever stays for ever', async () => {
    const bento = connect(shape, { ttl: '10m', grace: '6h' })
    const sixHours = 6 * 3_600_000
    await bento.set('k', 'v', { tags: ['t'] })
    await bento.setForever('ever', 'v', { tags: ['t'] })
    for (const key of ['k', 'ever']) await bento.expire(key)
    expect(await raw.pttl('bentocache:k')).toBeGreaterThan(sixHours - 1_000)
    expect(await raw.pttl('bentocache:k')).toBeLessThanOrEqual(sixHours)
    expect(await raw.pttl('bentocache:ever')).toBe(-1)
    expect([await bento.get('k', undefined, { grace: false }), await bento.get('k')]).toEqual([undefined, 'v'])
    await sleep(2)
    await bento.deleteByTag(['t'])
    for (const key of ['k', 'ever']) expect(await bento.get(key)).toBeUndefined()
    expect(await raw.pttl('bentocache:k')).toBeGreaterThan(sixHours - 1_000)
    expect(await raw.pttl('bentocache:ever')).toBe(-1)
  })

  test('a process that lives for one call leaves its value to the next', async () => {
    let runs = 0
    for (let i = 0; i < 5; i++) {
      const bento = connect(shape)
      expect(await bento.getOrSet('k', () => ++runs)).toBe(1)
      await bento.disconnectAll()
    }
  })

  test('calls from the first moment on share one run, while the connections are made', async () => {
    const bento = connect(shape)
    let runs = 0
    const calls: Promise<unknown>[] = []
    for (let i = 0; i < 100; i++) {
      calls.push(bento.getOrSet('first', async () => (runs++, await sleep(30), 'v')))
      await sleep(1)
    }
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['v']))
    expect(runs).toBe(1)
  })

  test('[30] the mark of a tag never dies', async () => {
    await connect(shape).deleteByTag(['t'])
    expect(await raw.pttl('bentocache:___bc:t:t')).toBe(-1)
  })

  test('[33] an expire never undoes what another process sets beside it', async () => {
    const [a, b] = [connect(shape, { grace: '6h' }), connect(shape, { grace: '6h' })]
    for (let round = 0; round < 100; round++) {
      await a.set('k', 'v1')
      await Promise.all([a.expire('k'), b.set('k', `v2 ${round}`)])
      expect(JSON.parse((await raw.get('bentocache:k'))!).value).toBe(`v2 ${round}`)
    }
  })

  test('[37] names are no patterns: clearing one spares what only looks like it', async () => {
    const bento = connect(shape)
    for (const [name, other] of [['a*', 'abc'], ['a?', 'ab'], ['u[1]', 'u1'], ['a\\', 'a'], ['users', 'usersAbc']] as const) {
      for (const view of [name, other]) await bento.namespace(view).set('k', 'v')
      await bento.namespace(name).clear()
      expect([await bento.namespace(name).has('k'), await bento.namespace(other).has('k')]).toEqual([false, true])
    }
    const starred = connect({ ...shape, driverPrefix: 'p*' })
    await raw.set('pq:foreign', 'x')
    await starred.set('k', 'v')
    await starred.clear()
    expect(await raw.get('pq:foreign')).toBe('x')
    expect(await raw.keys('p\\**')).toEqual([])
  })

  test('[36] with the prefix \'\', clear takes the whole database', async () => {
    const bento = connect(shape, { prefix: '' })
    await bento.set('k', 'v')
    await bento.namespace('users').set('1', 'v')
    await raw.set('foreign', 'x')
    await bento.clear()
    expect(await raw.dbsize()).toBe(0)
    expect(await bento.get('k')).toBeUndefined()
  })

  test('[48] of pulls at once, in two processes, one gets the value', async () => {
    const [a, b] = [connect(shape), connect(shape)]
    for (let round = 0; round < 30; round++) {
      await a.set('k', round)
      await b.get('k')
      const pulled = await Promise.all([a.pull('k'), b.pull('k'), a.pull('k'), b.pull('k')])
      expect(pulled.filter((value) => value !== undefined)).toEqual([round])
    }
  })

  test('[27] a tagged entry costs one more round trip, for all its marks', async () => {
    const [writer, reader] = [connect(shape), connect({ ...shape, hasL1: false })]
    await writer.set('k', 'v', { tags: ['a', 'b', 'c', 'd', 'e'] })
    await reader.get('other')
    await server.resetStats()
    expect(await reader.get('k')).toBe('v')
    const { get = 0, mget = 0, eval: evals = 0, evalsha = 0 } = await server.commandStats()
    expect([get + mget, mget, evals + evalsha]).toEqual([2, 1, 0])
  })

  test('[R9] a key that holds something else, or nothing of ours, is a miss at once, every time', async () => {
    const bento = connect(shape, { suppressL2Errors: undefined } as never)
    await raw.lpush('bentocache:list', 'x')
    await raw.set('bentocache:foreign', '<html>')
    for (const key of ['list', 'foreign']) {
      for (let round = 0; round < 3; round++) expect(await bento.get(key)).toBeUndefined()
      const [ms, value] = await timed(() => bento.getOrSet(key, () => 'v', { suppressL2Errors: true }))
      expect(value).toBe('v')
      expect(ms).toBeLessThan(500)
      expect(await bento.getOrSet('other', () => key)).toBe(key) // its lease is not disturbed
      await bento.delete('other')
    }
  })

  test('[R17] pull works where there is no GETDEL (6.0)', async () => {
    const old = await startRedis({ args: ['--rename-command', 'GETDEL', ''] })
    const bento = connect({ ...shape, connection: { host: old.host, port: old.port } })
    await bento.set('k', 'v')
    expect([await bento.pull('k'), await bento.pull('k')]).toEqual(['v', undefined])
    expect(await bento.get('k')).toBeUndefined()
    await bento.disconnect()
    await old.stop()
  })

  test('[R13] every connection has the user, password, database and keyPrefix that were given', async () => {
    const own = await startRedis({ acl: ['cache on >secret ~kp:* &* +@all', 'default on nopass ~* &* +@all -set -get -eval -evalsha -subscribe -publish'] })
    const options = { host: own.host, port: own.port, username: 'cache', password: 'secret', db: 2, keyPrefix: 'kp:' }
    const [a, b] = [connect({ ...shape, connection: options }), connect({ ...shape, connection: options })]
    await until(async () => {
      await b.set('ready', Math.random())
      return (await a.get('ready')) === (await b.get('ready'))
    })
    await a.set('k', 'v')
    expect(await b.get('k')).toBe('v')
    const admin = own.client({ username: 'cache', password: 'secret', db: 2 })
    expect(JSON.parse((await admin.get('kp:bentocache:k'))!).value).toBe('v')
    if (shape.hasL1 !== false) {
      await a.delete('k')
      await until(async () => (await b.get('k')) === undefined) // heard over the second connection
    }
    await a.clear()
    expect(await admin.keys('*')).toEqual([])
    await Promise.all([a.disconnect(), b.disconnect()])
    await own.stop()
  })
})

describe('a full Redis', () => {
  test('[R8] takes deletes, tags\' deletes and clears; a write it refuses is an L2 error', async () => {
    const full = await startRedis({ args: ['--maxmemory', '3mb', '--maxmemory-policy', 'noeviction'] })
    const bento = connect({ connection: { host: full.host, port: full.port } })
    const stuff = full.client()
    await bento.set('k', 'v')
    await bento.namespace('users').set('1', 'v')
    for (let n = 0; ; n++) {
      const refusal = await stuff.set(`x${n}`, 'x'.repeat(10_000)).then(() => undefined, (error: unknown) => error)
      if (refusal !== undefined) break
    }
    expect(await errorOf(bento.set('new', 'x'.repeat(10_000), { suppressL2Errors: false }))).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    expect(await bento.delete('k', { suppressL2Errors: false })).toBe(true)
    expect(await stuff.exists('bentocache:k')).toBe(0)
    await bento.namespace('users').clear({ suppressL2Errors: false })
    expect(await stuff.exists('bentocache:users:1')).toBe(0)
    expect(await bento.getOrSet('computed', () => 'v')).toBe('v')
    await bento.disconnect()
    await full.stop()
  })
})

describe('clients', () => {
  test.each([
    ['made for job queues', { maxRetriesPerRequest: null }],
    ['without an offline queue', { enableOfflineQueue: false }],
    ['with auto-pipelining', { enableAutoPipelining: true }],
  ])('[R10] %s work, and bound every verb by l2Timeout while Redis is frozen or gone', async (_, client) => {
    const own = await startRedis()
    const bento = connect({ connection: { host: own.host, port: own.port, retryStrategy: () => 100, ...client } }, { l2Timeout: 300 })
    await until(() => bento.set('k', 'v', { suppressL2Errors: false }).then(() => true, () => false))
    const use = async () => {
      const [ms] = await timed(async () => {
        expect(await bento.get('missing')).toBeUndefined()
        expect(await bento.getOrSet(`${Math.random()}`, () => 'v')).toBe('v')
        await bento.set('k', 'w')
        await bento.delete('k')
      })
      return ms
    }
    const unhandled = await unhandledDuring(async () => {
      own.pause()
      expect(await use()).toBeLessThan(2_500) // the first waits find it out: 300 ms, then a second of grace for the lease
      expect(await use()).toBeLessThan(400)
      own.resume()
      await until(() => bento.set('back', 'v', { suppressL2Errors: false }).then(() => true, () => false))
      await own.kill()
      expect(await use()).toBeLessThan(2_500)
      expect(await use()).toBeLessThan(400)
      await bento.disconnect()
    })
    expect(unhandled).toEqual([])
    await own.stop()
  })

  test('[51] of the user stay open and usable after disconnect', async () => {
    const client = server.client()
    const bento = connect({ connection: client, hasBus: true })
    await bento.set('k', 'v')
    await bento.disconnect()
    await bento.disconnectAll()
    expect(client.status).toBe('ready')
    expect(await client.get('bentocache:k')).toContain('"v"')
  })

  test('[R7] on a dead or frozen connection are left within 2 s, twice', async () => {
    for (const hurt of ['kill', 'pause'] as const) {
      const own = await startRedis()
      const bento = connect({ connection: { host: own.host, port: own.port }, hasBus: true })
      await bento.set('k', 'v')
      await own[hurt]()
      const [ms] = await timed(() => Promise.all([bento.disconnect(), bento.disconnect()]))
      expect(ms).toBeLessThan(2_500)
      const [again] = await timed(() => bento.disconnect())
      expect(again).toBeLessThan(100)
      if (hurt === 'pause') own.resume()
      await own.stop()
    }
  })
})

describe('after a gap in the subscription', () => {
  test.each([
    ['the feed', { leases: true, hasBus: false }],
    ['the bus', { leases: false, hasBus: true }],
  ])('[22] [D-G] of %s, what was missed is not served: L2 is asked', async (_, shape) => {
    const reader = connect(shape)
    const writer = connect({ hasL1: false, leases: shape.leases, hasBus: shape.hasBus })
    await until(async () => {
      await writer.set('ready', Math.random())
      await sleep(20)
      return (await reader.get('ready')) === (await writer.get('ready'))
    })
    for (let round = 0; round < 5; round++) {
      await writer.set('k', `old ${round}`)
      await until(async () => (await reader.get('k')) === `old ${round}`)
      // Every subscriber is cut, and what follows reaches none that is not back yet.
      await raw.client('KILL', 'TYPE', 'pubsub')
      await raw.set('bentocache:k', JSON.stringify({ value: `new ${round}`, createdAt: Date.now(), logicalExpiration: Date.now() + 3_600_000 }))
      await until(async () => (await reader.get('k')) === `new ${round}`, 3_000)
    }
  })
})

test('[24] Redis alone, 10,000 callers of a key that it has: two GETs at most', async () => {
  const [writer, reader] = [connect({ hasL1: false }), connect({ hasL1: false })]
  await writer.set('k', 'v')
  await reader.get('other')
  await server.resetStats()
  const got = await Promise.all(Array.from({ length: 10_000 }, () => reader.getOrSet('k', () => 'never')))
  expect(new Set(got)).toEqual(new Set(['v']))
  expect((await server.commandStats()).get).toBeLessThanOrEqual(2)
})

describe('a serializer of the user\'s', () => {
  const serializer = {
    serialize: (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64'),
    deserialize: (text: string) => JSON.parse(Buffer.from(text, 'base64').toString()),
  }

  for (const leases of [true, false]) {
    test(`with ${leases ? 'leases' : 'leases: false'}: expire keeps the stale value for its grace`, async () => {
      const bento = connect({ hasL1: false, leases }, { serializer, grace: '6h' })
      await bento.set({ key: 'k', value: { n: 1 } })
      expect(await bento.expire({ key: 'k' })).toBe(true)
      expect(await bento.get({ key: 'k', grace: false })).toBeUndefined()
      const failing = () => Promise.reject(new Error('the database is down'))
      expect(await bento.getOrSet({ key: 'k', factory: failing })).toEqual({ n: 1 })
    })
  }
})
