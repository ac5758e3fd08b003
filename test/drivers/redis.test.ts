import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { Redis } from 'ioredis'
import { Redis as Redis6 } from 'ioredis-6'
import { createClient } from 'redis'
import { createClient as createClient5 } from 'redis-5'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Codec } from '../../src/base/entry.js'
import { storageCases } from '../../src/conformance/storage.js'
import { RedisDriver, redisBusDriver, redisDriver } from '../../src/drivers/redis/redis.js'
import type { RedisConfig } from '../../src/drivers/redis/redis.js'
import { freePort, startCluster, startRedis, until } from '../support/redis.js'
import type { RedisCluster, RedisServer } from '../support/redis.js'

let server: RedisServer
let redis: Redis
const drivers: RedisDriver[] = []

beforeAll(async () => {
  server = await startRedis()
  redis = server.client()
})
beforeEach(async () => {
  await Promise.all(drivers.splice(0).map((driver) => driver.disconnect()))
  await redis.flushall()
})
afterAll(async () => {
  await Promise.all(drivers.map((driver) => driver.disconnect()))
  await server.stop()
})

function made(config: Partial<RedisConfig> = {}, at: { host: string; port: number } = server): RedisDriver {
  const driver = new RedisDriver({ connection: { host: at.host, port: at.port }, prefix: 'bentocache', ...config })
  drivers.push(driver)
  return driver
}

function listening(driver: RedisDriver, store = 's'): RedisDriver {
  driver.lease.feed!.open({ store, maxStalenessMs: 60_000, listener: { onEvent() {}, onVerified() {} } })
  return driver
}

/** Of the user's own, who listens to its errors. */
function quiet(client: Redis): Redis {
  return client.on('error', () => {})
}

const envelope = (value: unknown, freshUntil = Date.now() + 60_000) => new Codec().encode(value, Date.now(), freshUntil, [])

describe('as any storage', () => {
  const createDriver = (options?: { prefix?: string }) => made({ prefix: 'japa', ...options })
  for (const { name, run } of storageCases) test(name, () => run({ createDriver, assert }))
})

describe.each([
  ['redis 6', createClient],
  ['redis 5', createClient5],
])('as any storage, through clients of %s (node-redis)', (_, create) => {
  let client: any
  beforeAll(async () => {
    client = await (create as typeof createClient)({ url: server.url }).connect()
  })
  afterAll(() => client.destroy())
  for (const { name, run } of storageCases) {
    test(name, () => run({ createDriver: (options) => made({ connection: client, prefix: 'node-redis', ...options }), assert }))
  }
})

describe('keys in Redis', () => {
  test('are prefix, namespaces and key, as in 1.6.1', async () => {
    const at = async (driver: { set(key: string, value: string): Promise<boolean> }, key: string) => {
      await redis.flushall()
      await driver.set(key, 'v')
      return redis.keys('*')
    }
    const root = made()
    expect(await at(root, 'k')).toEqual(['bentocache:k'])
    expect(await at(root, '')).toEqual(['bentocache:'])
    expect(await at(root.namespace('users'), '1')).toEqual(['bentocache:users:1'])
    expect(await at(root.namespace('users').namespace('admins'), '1')).toEqual(['bentocache:users:admins:1'])
    expect(await at(root.namespace('users:').namespace('a:b'), ':1')).toEqual(['bentocache:users:a:b::1'])
    expect(await at(root.namespace(''), '1')).toEqual(['bentocache:1'])
    expect(await at(made({ prefix: 'app::' }), 'k')).toEqual(['app:k'])
    expect(await at(made({ prefix: '' }), 'k')).toEqual(['k'])
    expect(await at(made({ prefix: undefined }).namespace('users'), 'k')).toEqual(['users:k'])
    expect(await at(made({ connection: { port: server.port, keyPrefix: 'kp:' } }), 'k')).toEqual(['kp:bentocache:k'])
  })

  test('of a namespace are the root’s, and the other way round', async () => {
    const root = made()
    const users = root.namespace('users')
    await users.set('1', 'a')
    await root.set('users:2', 'b')
    expect(await root.get('users:1')).toBe('a')
    expect(await users.getMany(['1', '2', '3'])).toEqual(['a', 'b', undefined])
    expect(await users.delete('2')).toBe(true)
    expect(await root.get('users:2')).toBeUndefined()
    expect(users.lease).toBe(root.lease)
    expect(users.getConnection()).toBe(root.getConnection())
  })
})

describe('ttls', () => {
  test('are rounded up to whole milliseconds', async () => {
    await made().set('k', 'v', 1500.5)
    const left = await redis.pttl('bentocache:k')
    expect(left).toBeGreaterThan(1_400)
    expect(left).toBeLessThanOrEqual(1_501)
  })

  test('that are absent, zero, negative or endless keep the value for ever', async () => {
    const driver = made()
    for (const ttl of [undefined, 0, -5, NaN, Infinity]) {
      await driver.set('k', 'v', ttl)
      expect(await redis.pttl('bentocache:k'), String(ttl)).toBe(-1)
    }
    expect(await driver.remainingTtl('k')).toBe(Infinity)
    expect(await driver.remainingTtl('missing')).toBe(0)
    await driver.set('k', 'v', 5_000)
    expect(await driver.remainingTtl('k')).toBeGreaterThan(4_000)
  })

  test('are those of the write, also for a large value, which takes another way', async () => {
    const { lease } = made()
    for (const size of [10, 100_000]) {
      for (const keepMs of [null, 5_000.5]) {
        const acquired = await lease.acquire('k', { attempt: 'a:1', ttlMs: 1_000, seen: '', force: true })
        const granted = acquired.kind === 'granted' ? acquired.lease : undefined
        await lease.fulfill(granted!, envelope('x'.repeat(size)), { keepMs })
        const left = await redis.pttl('bentocache:k')
        if (keepMs === null) expect(left).toBe(-1)
        else expect(Math.abs(left - 4_900)).toBeLessThanOrEqual(101)
      }
    }
  })

  test('are kept by expire, which makes the entry stale in its place', async () => {
    const driver = made()
    await driver.set('k', envelope('v'), 50_000)
    expect(await driver.expire('k', 1_700_000_000_000)).toBe(true)
    expect(JSON.parse((await driver.get('k'))!)).toMatchObject({ value: 'v', logicalExpiration: 1_700_000_000_000 })
    expect(await driver.remainingTtl('k')).toBeGreaterThan(49_000)
    expect(await driver.expire('missing', 1)).toBe(false)
  })
})

describe('pull', () => {
  test('gives the value to one of two processes that pull at once', async () => {
    const [a, b] = [made({ connection: server.client() }), made({ connection: server.client() })]
    for (let i = 0; i < 50; i++) {
      await a.set('k', 'v')
      const pulled = await Promise.all([a.pull('k'), b.pull('k')])
      expect(pulled.filter((text) => text === 'v')).toHaveLength(1)
      expect(pulled.filter((text) => text === undefined)).toHaveLength(1)
    }
  })

  test('fences a computation that began before it', async () => {
    const driver = made()
    const acquired = await driver.lease.acquire('k', { attempt: 'a:1', ttlMs: 1_000, seen: '' })
    await driver.pull('k')
    const lease = acquired.kind === 'granted' ? acquired.lease : undefined
    expect(await driver.lease.fulfill(lease!, 'old', { keepMs: null })).toBe('refused')
  })

  test('works on Redis 6.0, which has no GETDEL', async () => {
    const old = await startRedis({ args: ['--rename-command', 'GETDEL', ''] })
    try {
      const driver = made({}, old)
      for (const key of ['k', 'k']) {
        await driver.set(key, 'v')
        expect(await driver.pull(key)).toBe('v')
        expect(await driver.pull(key)).toBeUndefined()
      }
      await driver.disconnect()
    } finally {
      await old.stop()
    }
  })
})

describe('keys of another type', () => {
  test('are misses, and are replaced by a write', async () => {
    const driver = made()
    await redis.rpush('bentocache:list', 'x')
    expect(await driver.get('list')).toBeUndefined()
    expect(await driver.getMany(['list', 'no'])).toEqual([undefined, undefined])
    expect(await driver.pull('list')).toBeUndefined()
    const asked = driver.lease.acquire('list', { attempt: 'a:1', ttlMs: 1_000, seen: '' })
    const refusal = await asked.catch((error: Error) => error)
    expect(refusal).toBeInstanceOf(Error)
    expect(driver.lease.isOutage(refusal)).toBe(false)
    const other = await driver.lease.acquire('other', { attempt: 'a:2', ttlMs: 1_000, seen: '' })
    expect(other.kind).toBe('granted')
    await driver.set('list', 'v')
    expect(await driver.get('list')).toBe('v')
  })
})

describe('clear', () => {
  test('takes its prefix, all namespaces included, and nothing beside it', async () => {
    const root = made()
    for (const key of ['a', 'users:1', 'users:posts:1', 'usersAbc:1']) await root.set(key, 'v')
    await redis.mset('other:1', 'v', 'bentocacheX:1', 'v')
    await root.namespace('users').clear()
    expect((await redis.keys('*')).sort()).toEqual(['bentocache:a', 'bentocache:usersAbc:1', 'bentocacheX:1', 'other:1'])
    await root.clear()
    expect((await redis.keys('*')).sort()).toEqual(['bentocacheX:1', 'other:1'])
  })

  test('takes patterns in names literally', async () => {
    const root = made()
    const names = ['a*', 'abc', 'u[1]', 'u1', 'q?', 'qx', 'b\\*', 'b\\x']
    for (const name of names) await root.namespace(name).set('1', 'v')
    for (const name of ['a*', 'u[1]', 'q?', 'b\\*']) await root.namespace(name).clear()
    const left = await Promise.all(names.map((name) => root.namespace(name).get('1')))
    expect(left).toEqual([undefined, 'v', undefined, 'v', undefined, 'v', undefined, 'v'])
  })

  test('knows the keyPrefix of the client, patterns in it included', async () => {
    const driver = made({ connection: { port: server.port, keyPrefix: 'k[p]*:' } })
    await driver.set('1', 'v')
    await redis.set('kp:bentocache:1', 'v')
    await driver.clear()
    expect(await redis.keys('*')).toEqual(['kp:bentocache:1'])
  })

  test('without any prefix takes the whole database, as in 1.6.1', async () => {
    await redis.mset('a', '1', 'b:c', '2')
    await made({ prefix: '' }).clear()
    expect(await redis.dbsize()).toBe(0)
  })

  test('takes many thousands', async () => {
    const driver = made()
    const keys = Array.from({ length: 5_000 }, (_, i) => `k${i}`)
    await redis.mset(keys.flatMap((key) => [`bentocache:${key}`, 'v']))
    expect(await driver.deleteMany(keys.slice(0, 3_000))).toBe(true)
    expect(await redis.dbsize()).toBe(2_000)
    await driver.clear()
    expect(await redis.dbsize()).toBe(0)
    expect(await driver.deleteMany([])).toBe(true)
  })
})

test('an expire never undoes what another process sets beside it', async () => {
  const [a, b] = [made({ connection: server.client() }), made({ connection: server.client() })]
  const foreign = JSON.stringify({ value: 1, logicalExpiration: Date.now() + 60_000, tags: [], createdAt: Date.now() })
  for (let i = 0; i < 200; i++) {
    await a.set('k', i % 2 ? envelope(1) : foreign)
    await Promise.all([a.expire('k', Date.now() - 100), b.set('k', envelope(2))])
    expect(JSON.parse((await a.get('k'))!).value).toBe(2)
  }
})

test('a text in which no envelope can be found is removed by expire: it could not be made stale', async () => {
  const driver = made()
  for (const text of ['{"json":{"value":1,"logicalExpiration":9999999999999}}', 'no json', '[1]']) {
    await driver.set('k', text)
    expect(await driver.expire('k', Date.now())).toBe(true)
    expect(await driver.get('k')).toBeUndefined()
  }
  await redis.set('bentocache:k', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]))
  expect(await driver.expire('k', Date.now())).toBe(true)
  expect(await driver.get('k')).toBeUndefined()
})

test('memory full: deletes, clears and expires work, writes are refused as such', async () => {
  const full = await startRedis({ args: ['--maxmemory', '3mb', '--maxmemory-policy', 'noeviction'] })
  try {
    const driver = listening(made({}, full))
    await driver.set('stale', envelope('x'))
    await driver.set('b', envelope('x'))
    const held = await driver.lease.acquire('held', { attempt: 'a:1', ttlMs: 5_000, seen: '' })
    const stuff = full.client()
    let refusal: unknown
    for (let i = 0; refusal === undefined; i++) {
      refusal = await stuff.set(`x${i}`, 'x'.repeat(10_000)).then(() => undefined, (error: unknown) => error)
    }
    const refused = await driver.set('c', 'x'.repeat(10_000)).catch((error: Error) => error)
    expect(refused).toBeInstanceOf(Error)
    expect(driver.lease.isOutage(refused)).toBe(false)
    expect(await driver.expire('stale', Date.now())).toBe(true)
    const entry = new Codec().decode((await driver.get('stale')) ?? '')
    expect(entry === undefined || entry.freshUntil <= Date.now()).toBe(true)
    expect(await driver.delete('b')).toBe(true)
    const lease = held.kind === 'granted' ? held.lease : undefined
    expect(await driver.lease.settle(lease!, { kind: 'abandoned' }, { followers: true, backoffMs: 0 })).toBe('again')
    await driver.clear()
    expect(await driver.get('stale')).toBeUndefined()
    await driver.disconnect()
  } finally {
    await full.stop()
  }
})

describe('commands', () => {
  test('a hit is one GET; a miss with its fill three; delete, set and pull one pipeline of three', async () => {
    const driver = listening(made())
    await until(async () => Number((await redis.pubsub('NUMSUB', 'bentocache.notifications:s:flights:0:bentocache'))[1]) === 1)
    const run = async (what: () => Promise<unknown>) => {
      await server.resetStats()
      await what()
      const { time: _, ping: __, ...stats } = await server.commandStats()
      return Object.fromEntries(Object.entries(stats).filter(([name]) => !name.startsWith('config')))
    }
    const fill = async () => {
      await driver.get('k')
      const acquired = await driver.lease.acquire('k', { attempt: 'a:1', ttlMs: 1_000, seen: '' })
      await driver.lease.fulfill(acquired.kind === 'granted' ? acquired.lease : null!, envelope(1), { keepMs: 1_000 })
    }
    await fill()
    await driver.delete('k')
    const { get, evalsha } = await run(fill)
    expect({ get: get! - 3, evalsha }).toEqual({ get: 1, evalsha: 2 }) // the scripts themselves GET three times
    expect(await run(() => driver.get('k'))).toEqual({ get: 1 })
    expect(await run(() => driver.getMany(['k', 'l']))).toEqual({ mget: 1 })
    expect(await run(() => driver.set('k', 'v', 1_000))).toEqual({ unlink: 1, set: 1, publish: 1 })
    expect(await run(() => driver.delete('k'))).toEqual({ unlink: 2, publish: 1 })
    expect(await run(() => driver.pull('k'))).toEqual({ unlink: 1, getdel: 1, publish: 1 })
  })
})

describe('connections', () => {
  test('values, feed and bus of a store need two, however many stores there are', async () => {
    const own = await startRedis()
    try {
      const before = await own.connections()
      const connection = () => ({ host: own.host, port: own.port })
      const stores = ['a', 'b', 'c'].map((store) => {
        const bus = redisBusDriver({ connection: connection() }).factory()
        bus.setId('x'.repeat(24))
        return { driver: listening(made({ connection: connection(), prefix: store }), store), bus }
      })
      await Promise.all(stores.map(({ bus }, i) => bus.subscribe(`bus${i}`, () => {})))
      await Promise.all(stores.map(({ driver }) => driver.get('k')))
      expect((await own.connections()) - before).toBe(2)
      for (const { driver, bus } of stores) await Promise.all([driver.disconnect(), bus.disconnect()])
      await until(async () => (await own.connections()) === before)
    } finally {
      await own.stop()
    }
  })

  test('the last store to leave closes what was made here', async () => {
    const [a, b] = [made({ connection: { port: server.port, connectionName: 'x' } }), made({ connection: { port: server.port, connectionName: 'x' } })]
    expect(a.getConnection()).toBe(b.getConnection())
    await a.disconnect()
    await a.disconnect() // twice is once
    expect(await b.set('k', 'v')).toBe(true)
    await b.disconnect()
    expect(b.getConnection().status).toBe('end')
  })

  test('a client of the user’s is used as it is, stays usable, and keeps no listener of ours', async () => {
    for (const client of [new Redis(server.port), new Redis6(server.port)]) {
      client.on('error', () => {})
      const listeners = () => client.eventNames().map((name) => [name, client.listenerCount(name)])
      await client.ping()
      const before = listeners()
      const driver = listening(made({ connection: client }))
      expect(driver.getConnection()).toBe(client)
      await driver.set('k', 'v')
      await driver.disconnect()
      expect(await client.get('bentocache:k')).toBe('v')
      expect(listeners()).toEqual(before)
      client.disconnect()
    }
    const client = await createClient({ url: server.url }).connect()
    const driver = listening(made({ connection: client }))
    await driver.set('k', 'v')
    await driver.disconnect()
    expect(await client.get('bentocache:k')).toBe('v')
    expect(client.listenerCount('error')).toBe(0)
    client.destroy()
  })

  test('a subscriber of the user’s is used for pub/sub, left by us, and not closed', async () => {
    const own = await startRedis()
    const [client, subscriber] = [own.client(), own.client()]
    try {
      await Promise.all([client.ping(), subscriber.ping()])
      const before = await own.connections()
      const driver = listening(made({ connection: client, subscriber }))
      await until(async () => ((await client.pubsub('CHANNELS')) as string[]).length === 1)
      expect(await own.connections()).toBe(before)
      await driver.disconnect()
      await until(async () => ((await client.pubsub('CHANNELS')) as string[]).length === 0)
      expect(subscriber.status).toBe('ready')
    } finally {
      await own.stop()
    }
  })

  test('the subscriber connection has the user, password and database of the first', async () => {
    const own = await startRedis({ acl: ['cache on >secret ~* &* +@all', 'default off'] })
    try {
      const options = { host: own.host, port: own.port, username: 'cache', password: 'secret', db: 2, keyPrefix: 'kp:' }
      for (const isOwnClient of [false, true]) {
        const driver = listening(made({ connection: isOwnClient ? quiet(new Redis(options)) : options }))
        await driver.set('k', 'v')
        const client = driver.getConnection()
        const lines = async () => ((await client.client('LIST')) as string).split('\n').filter((line) => / user=cache /.test(line))
        await until(async () => (await lines()).some((line) => / sub=1 /.test(line)))
        expect(await lines()).toHaveLength(2)
        await driver.disconnect()
        expect(client.status).toBe(isOwnClient ? 'ready' : 'end')
        client.disconnect()
        await until(() => client.status === 'end')
      }
    } finally {
      await own.stop()
    }
  })

  test('that are dead, or were never there, are left within 2 s', async () => {
    const own = await startRedis()
    const driver = listening(made({}, own))
    await driver.set('k', 'v')
    own.pause()
    const absent = listening(made({ connection: { port: await freePort() } }))
    const user = listening(made({ connection: quiet(new Redis({ port: await freePort(), maxRetriesPerRequest: null })) }))
    const from = Date.now()
    await Promise.all([driver, absent, user].map((one) => one.disconnect()))
    expect(Date.now() - from).toBeLessThan(2_000)
    user.getConnection().disconnect()
    await own.stop()
  })

  test('that queue, or refuse to, answer with what counts as an outage', async () => {
    const port = await freePort()
    for (const options of [{ maxRetriesPerRequest: 1 }, { enableOfflineQueue: false }]) {
      const client = quiet(new Redis({ port, retryStrategy: () => 10, ...options }))
      const driver = made({ connection: client })
      const error = await driver.get('k').catch((failure: unknown) => failure)
      expect(driver.lease.isOutage(error)).toBe(true)
      client.disconnect()
    }
  })

  test('are recognised by their shape; what is none is refused by name', () => {
    for (const connection of [undefined, null, 'redis://localhost', 42, [], new Map(), () => {}]) {
      const wrong = { connection } as unknown as RedisConfig
      expect(() => redisDriver(wrong)).toThrow(/connection/)
      expect(() => redisBusDriver(wrong)).toThrow(/connection/)
      expect(() => new RedisDriver(wrong)).toThrow(/connection/)
    }
    expect(redisDriver({ connection: {} }).options).toEqual({ connection: {} })
  })
})

describe('a program', () => {
  const run = promisify(execFile)
  let directory: string

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'bentocache-alone-'))
    const entryPoints = [new URL('../../src/drivers/redis/redis.ts', import.meta.url).pathname]
    await build({ entryPoints, bundle: true, platform: 'node', format: 'esm', packages: 'external', outfile: join(directory, 'redis.mjs') })
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  test('without ioredis is told what to install, once it needs it', async () => {
    const script = join(directory, 'absent.mjs')
    writeFileSync(script, `import { RedisDriver } from './redis.mjs'
      try { new RedisDriver({ connection: { port: 1 } }) } catch (error) { console.log(error.message) }`)
    const { stdout } = await run(process.execPath, [script])
    expect(stdout).toMatch(/npm install ioredis/)
  })

  test('that disconnects its driver ends by itself', async () => {
    const script = join(directory, 'ends.mjs')
    writeFileSync(script, `import { createRequire } from 'node:module'
      import { RedisDriver } from './redis.mjs'
      const { Redis } = createRequire(${JSON.stringify(import.meta.url)})('ioredis')
      const client = new Redis(${server.port})
      const driver = new RedisDriver({ connection: client, prefix: 'p' })
      driver.lease.feed.open({ store: 's', maxStalenessMs: 2000, listener: { onEvent() {}, onVerified: () => heard() } })
      const heard = async () => {
        driver.lease.watch('k').next('', 60_000)
        await driver.set('k', 'v')
        await driver.disconnect()
        client.disconnect()
        console.log('done')
      }`)
    const from = Date.now()
    const { stdout } = await run(process.execPath, [script], { timeout: 10_000 })
    expect(stdout).toMatch(/done/)
    expect(Date.now() - from).toBeLessThan(5_000)
  })
})

describe('a cluster', () => {
  let cluster: RedisCluster

  beforeAll(async () => {
    cluster = await startCluster()
  })
  afterAll(() => cluster.stop())

  const keys = Array.from({ length: 300 }, (_, i) => (i % 3 ? `k${i}` : `{tag${i}}k`))
  const size = async () => {
    const sizes = await Promise.all(cluster.masters.map((master) => master.client().dbsize()))
    return sizes.reduce((sum, one) => sum + one, 0)
  }

  test.each([undefined, '', 'kp:', '{kp}:'])('clears and deletes keys of every slot, keyPrefix %j', async (keyPrefix) => {
    const options = keyPrefix === undefined ? {} : { keyPrefix }
    const driver = listening(made({ connection: cluster.client(options) }))
    await Promise.all(keys.map((key) => driver.set(key, 'v')))
    expect(await size()).toBe(300)
    expect(await driver.getMany(keys.slice(0, 5))).toEqual(Array(5).fill('v'))
    expect(await driver.deleteMany(keys.slice(0, 50))).toBe(true)
    expect(await size()).toBe(250)
    await driver.clear()
    expect(await size()).toBe(0)
  })

  test('keeps leases beside values in every slot, and takes none where it cannot', async () => {
    const driver = listening(made({ connection: cluster.client() }))
    for (const key of keys) {
      const acquired = await driver.lease.acquire(key, { attempt: 'a:1', ttlMs: 5_000, seen: '' })
      const lease = acquired.kind === 'granted' ? acquired.lease : undefined
      expect(await driver.lease.fulfill(lease!, envelope(key), { keepMs: null })).toBe('stored')
    }
    for (const key of ['a}b', '{}x', '}{']) {
      const asked = driver.lease.acquire(key, { attempt: 'a:2', ttlMs: 5_000, seen: '' })
      const refusal = await asked.catch((error: Error) => error)
      expect(driver.lease.isOutage(refusal)).toBe(false)
      await driver.set(key, envelope(1))
      expect(await driver.lease.invalidate([key], 'expire')).toEqual([true])
      expect(await driver.delete(key)).toBe(true)
    }
    const held = await Promise.all(keys.slice(0, 20).map(async (key, i) => {
      const acquired = await driver.lease.acquire(`l${key}`, { attempt: `b:${i}`, ttlMs: 5_000, seen: '' })
      return { lease: acquired.kind === 'granted' ? acquired.lease : null!, hold: true }
    }))
    expect(await driver.lease.renew(held, 5_000)).toEqual(held.map(() => true))
    await driver.clear()
    expect(await driver.lease.renew(held, 5_000)).toEqual(held.map(() => false))
  })

  describe('as any storage', () => {
    const createDriver = (options?: { prefix?: string }) => made({ connection: cluster.client(), prefix: 'japa', ...options })
    for (const { name, run } of storageCases) test(name, () => run({ createDriver, assert }))
  })

  test('works through the cluster client of redis (node-redis) as well', async () => {
    const { createCluster } = await import('redis')
    const rootNodes = cluster.nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` }))
    const client = await createCluster({ rootNodes }).connect()
    const driver = made({ connection: client })
    const events: string[] = []
    const listener = { onEvent: ({ kind, key }: { kind: string; key: string }) => void events.push(`${kind} ${key}`), onVerified() {} }
    driver.lease.feed!.open({ store: 's', maxStalenessMs: 1_000, listener })
    await until(() => events.length === 1)
    await Promise.all(keys.slice(0, 60).map((key) => driver.set(key, 'v')))
    expect(await driver.deleteMany(keys.slice(0, 10))).toBe(true)
    expect(await driver.get(keys[11]!)).toBe('v')
    await until(() => events.length === 71)
    await driver.clear()
    expect(await size()).toBe(0)
    await driver.disconnect()
    await client.close()
  })
})
