import { createServer, connect } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import knex from 'knex'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Acquired, FeedEvent, Lease, Logger } from '../../src/base/contract.js'
import { Codec } from '../../src/base/entry.js'
import { KnexAdapter } from '../../src/drivers/database/knex.js'
import { DatabaseDriver } from '../../src/drivers/database/database.js'
import { PostgresDriver, postgresDriver, postgresSchema } from '../../src/drivers/postgres/postgres.js'
import type { PostgresConfig } from '../../src/drivers/postgres/postgres.js'
import { until } from '../support/redis.js'
import { startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'

let server: SqlServer
let options: { host: string; port: number; user: string; database: string }
let keys = 0
const ends: (() => unknown)[] = []

beforeAll(async () => {
  server = await startPostgres()
  options = { host: server.host, port: server.port, user: server.user, database: await server.createDatabase() }
}, 60_000)
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})
afterAll(() => server.stop())

interface Peer {
  driver: PostgresDriver
  events: FeedEvent[]
  verified: number[]
}

/** A process of its own, once it hears. */
async function peer(config: Partial<PostgresConfig> = {}, isHearing = true): Promise<Peer> {
  const driver = new PostgresDriver({ connection: options, prefix: 'p', ...config })
  ends.push(() => driver.disconnect())
  const [events, verified]: [FeedEvent[], number[]] = [[], []]
  const listener = { onEvent: (event: FeedEvent) => void events.push(event), onVerified: (at: number) => void verified.push(at) }
  driver.lease.feed!.open({ store: 's', maxStalenessMs: 400, listener })
  await driver.get('warm')
  if (isHearing) await until(() => events.length > 0)
  events.length = 0
  return { driver, events, verified }
}

const text = (value: unknown) => new Codec().encode(value, Date.now(), Infinity, [])
const ask = (one: Peer, key: string, seen = ''): Promise<Acquired> =>
  one.driver.lease.acquire(key, { attempt: `a:${keys++}`, ttlMs: 10_000, seen })
const leaseIn = (acquired: Acquired): Lease => {
  if (acquired.kind !== 'granted') throw new Error(`Not granted but ${acquired.kind}`)
  return acquired.lease
}

describe('an invalidation inside the transaction of the program', () => {
  const transactions: Record<string, () => Promise<{ client: unknown; end(how: 'commit' | 'rollback'): Promise<unknown> }>> = {
    async 'a client of pg'() {
      const client = new pg.Client(options)
      await client.connect()
      ends.push(() => client.end())
      await client.query('begin')
      return { client, end: (how) => client.query(how) }
    },
    async 'a client of pg, in repeatable read'() {
      const client = new pg.Client(options)
      await client.connect()
      ends.push(() => client.end())
      await client.query('begin isolation level repeatable read')
      return { client, end: (how) => client.query(how) }
    },
    async 'a transaction of knex'() {
      const db = knex({ client: 'pg', connection: options })
      ends.push(() => db.destroy())
      const client = await db.transaction()
      return { client, end: (how) => (how === 'commit' ? client.commit() : client.rollback()) }
    },
    async 'a transaction of Kysely'() {
      const db = new Kysely<any>({ dialect: new PostgresDialect({ pool: new pg.Pool(options) }) })
      ends.push(() => db.destroy())
      const client = await db.startTransaction().execute()
      return { client, end: (how) => (how === 'commit' ? client.commit().execute() : client.rollback().execute()) }
    },
  }

  for (const [title, begin] of Object.entries(transactions)) {
    test(`${title}: it is there once committed, and heard by all`, async () => {
      const [a, b] = [await peer(), await peer()]
      const key = `key-${keys++}`
      const stored = text('old')
      await a.driver.set(key, stored)
      await until(() => b.events.some(({ kind }) => kind === 'put'))
      const { client, end } = await begin()
      await a.driver.invalidateIn(client, key)
      expect(await b.driver.get(key)).toBe(stored)
      expect(b.events.some(({ kind }) => kind === 'deleted')).toBe(false)
      await end('commit')
      expect(await b.driver.get(key)).toBeUndefined()
      const deleted = { kind: 'deleted', key, term: '', own: false }
      await until(() => [a, b].every(({ events }) => events.some(({ kind }) => kind === 'deleted')))
      for (const { events } of [a, b]) expect(events.find(({ kind }) => kind === 'deleted')).toEqual(deleted)
    })

    test(`${title}: rolled back, nothing has happened`, async () => {
      const a = await peer()
      const key = `key-${keys++}`
      const stored = text('old')
      await a.driver.set(key, stored)
      const { client, end } = await begin()
      await a.driver.invalidateIn(client, [key])
      await end('rollback')
      expect(await a.driver.get(key)).toBe(stored)
      expect((await ask(a, key, a.driver.lease.fingerprint(stored))).kind).toBe('granted')
    })

    test(`${title}: until it commits nobody is granted a key, also one that nobody ever had`, async () => {
      const a = await peer()
      const [missing, leased] = [`key-${keys++}`, `key-${keys++}`]
      const lease = leaseIn(await ask(a, leased))
      const { client, end } = await begin()
      await a.driver.invalidateIn(client, [missing, leased])
      expect(await ask(a, missing)).toMatchObject({ kind: 'held', term: 'barred' })
      expect(await a.driver.lease.fulfill(lease, text('read before'), { keepMs: null })).toBe('refused')
      expect(await a.driver.lease.settle(lease, { kind: 'nothing' }, { followers: false, backoffMs: 0 })).toBe('lost')
      expect(await a.driver.lease.renew([{ lease, hold: true }], 1_000)).toEqual([true])
      await end('commit')
      expect(await a.driver.lease.renew([{ lease, hold: true }], 1_000)).toEqual([false])
      expect(await a.driver.lease.fulfill(lease, text('read before'), { keepMs: null })).toBe('refused')
      for (const key of [missing, leased]) expect((await ask(a, key)).kind).toBe('granted')
    })
  }

  test('a value stored after a repeatable read began, which it cannot see, is not left behind', async () => {
    const a = await peer()
    const key = `key-${keys++}`
    const client = new pg.Client(options)
    await client.connect()
    ends.push(() => client.end())
    await client.query('begin isolation level repeatable read')
    await client.query('select count(*) from bentocache')
    await a.driver.set(key, text('old'))
    await expect(a.driver.invalidateIn(client, key)).rejects.toMatchObject({ code: '40001' })
  })

  test('`postgresDriver(…).invalidateIn` reaches every store that uses it; without one it says so', async () => {
    const l2 = postgresDriver({ connection: options })
    await expect(l2.invalidateIn(new pg.Client(options), 'key')).rejects.toThrow('No store uses this driver')
    const driver = l2.factory({ ...l2.options, prefix: 'mine' })
    ends.push(() => driver.disconnect())
    await driver.namespace('users').set('1', text('old'))
    const pool = new pg.Pool(options)
    ends.push(() => pool.end())
    await l2.invalidateIn(pool, ['users:1'])
    expect(await driver.namespace('users').get('1')).toBeUndefined()
    await expect(l2.invalidateIn({}, 'key')).rejects.toMatchObject({ code: 'E_INVALID_OPTION' })
  })
})

describe('the feed', () => {
  test('tells what another process did, and whose it was', async () => {
    const [a, b] = [await peer(), await peer()]
    const key = `a|key: é🚀\n'${keys++}`
    const lease = leaseIn(await ask(a, key))
    expect((await ask(b, key)).kind).toBe('held')
    await a.driver.lease.fulfill(lease, text('v'), { keepMs: null })
    await until(() => b.events.length > 0 && a.events.length > 0)
    const event = { kind: 'stored', key, term: lease.term, text: expect.stringContaining('"v"') }
    expect(b.events).toEqual([{ ...event, own: false }])
    expect(a.events).toEqual([{ ...event, own: true }])
  })

  test('a body of 8 kB and more does not travel; who waits reads it', async () => {
    const [a, b] = [await peer(), await peer()]
    const key = `key-${keys++}`
    const lease = leaseIn(await ask(a, key))
    await ask(b, key)
    await a.driver.lease.fulfill(lease, text('x'.repeat(8_000)), { keepMs: null })
    await until(() => b.events.length > 0)
    expect(b.events).toEqual([{ kind: 'stored', key, term: lease.term, own: false }])
  })

  test('is verified again and again, and knows the clock of the server', async () => {
    const { driver, verified } = await peer()
    await until(() => verified.length >= 3)
    expect(Math.abs(driver.lease.offset())).toBeLessThan(500)
    expect(verified.at(-1)! - Date.now()).toBeLessThanOrEqual(400)
  })

  test('a listening connection that is lost is made anew, which is a gap', async () => {
    const [a, b] = [await peer(), await peer()]
    await server.query(options.database, `select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%' or (state = 'idle' and query like '%extract(epoch from clock_timestamp()) * 1000)::float8%')`)
    await until(() => a.events.some(({ kind }) => kind === 'gap') && b.events.some(({ kind }) => kind === 'gap'))
    b.events.length = 0
    await a.driver.delete('heard again')
    await until(() => b.events.length > 0)
    expect(b.events).toEqual([{ kind: 'deleted', key: 'heard again', term: '', own: false }])
  })

  test('stores, prefixes and tables of one database do not hear each other', async () => {
    const [a, other, table] = [await peer(), await peer({ prefix: 'q' }), await peer({ tableName: 'other_cache' })]
    await a.driver.delete('key')
    await other.driver.delete('end')
    await table.driver.delete('end')
    await until(() => [other, table].every(({ events }) => events.length > 0))
    expect([...other.events, ...table.events].map(({ key }) => key)).toEqual(['end', 'end'])
  })
})

describe('behind a pooler that hands no notification on', () => {
  test('one warning, then who waits asks again: the lease works as before', async () => {
    const proxy = await startDeafProxy(options.port)
    ends.push(() => proxy.close())
    const warnings: string[] = []
    const logger = { warn: (_: unknown, message: string) => void warnings.push(message) } as unknown as Logger
    const connection = { ...options, port: (proxy.address() as AddressInfo).port }
    const a = await peer({ connection, logger }, false)
    const b = await peer({ connection, logger: undefined }, false)
    await until(() => warnings.length > 0 && b.verified.includes(Infinity))
    expect(warnings).toEqual([expect.stringMatching(/notifications do not arrive.*PgBouncer/)])
    expect(a.driver.lease.leaseInfo).toEqual({ scope: 'fleet', wakeup: 'poll', clock: 'server', feed: false })
    const key = `key-${keys++}`
    const lease = leaseIn(await ask(a, key))
    const held = await ask(b, key)
    const watch = b.driver.lease.watch(key)
    const asked = Date.now()
    expect(await watch.next(held.kind === 'held' ? held.term : '', 10_000)).toBe('timeout')
    expect(Date.now() - asked).toBeLessThan(5_000)
    await a.driver.lease.fulfill(lease, text('v'), { keepMs: null })
    expect(await b.driver.get(key)).toBeDefined()
    watch.close()
    await sleep(600)
    expect(warnings.length).toBe(1)
  })

  test('with a `listener` that leads past it, everything is heard', async () => {
    const proxy = await startDeafProxy(options.port)
    ends.push(() => proxy.close())
    const connection = { ...options, port: (proxy.address() as AddressInfo).port }
    const [a, b] = [await peer({ connection, listener: options }), await peer({ connection, listener: options })]
    await a.driver.delete('key')
    await until(() => b.events.length > 0)
    expect(b.events[0]).toMatchObject({ kind: 'deleted', key: 'key' })
  })
})

describe('the table', () => {
  test('is the one of the knex driver, whoever made it', async () => {
    const connection = knex({ client: 'pg', connection: options })
    for (const [first, tableName] of [['knex', 'made_by_knex'], ['ours', 'made_by_us']] as const) {
      const config = { connection, tableName, prefix: 'bentocache' }
      const theirs = new DatabaseDriver(new KnexAdapter(config), config)
      const ours = new PostgresDriver({ connection: options, tableName, prefix: 'bentocache' })
      ends.push(() => ours.disconnect())
      if (first === 'knex') await theirs.set('1', text('theirs'), 60_000)
      await ours.set('2', text('ours'), 60_000)
      await theirs.set('1', text('theirs'), 60_000)
      expect(await ours.get('1')).toContain('"theirs"')
      expect(await theirs.get('2')).toContain('"ours"')
      expect(await ours.remainingTtl('1')).toBeGreaterThan(50_000)
    }
    ends.push(() => connection.destroy())
  })

  test('may be made by a migration: `postgresSchema` says what it needs', async () => {
    const driver = new PostgresDriver({ connection: options, tableName: 'migrated', autoCreateTable: false, prefix: 'p' })
    ends.push(() => driver.disconnect())
    await expect(driver.set('key', 'text')).rejects.toMatchObject({ code: expect.stringMatching(/^42/) })
    await server.query(options.database, postgresSchema('migrated'))
    await server.query(options.database, postgresSchema('migrated'))
    await driver.set('key', 'text')
    expect(await driver.get('key')).toBe('text')
  })

  test('20 processes that start together make it once', async () => {
    const drivers = Array.from({ length: 20 }, () => new PostgresDriver({ connection: { ...options, max: 1 }, tableName: 'Made"Once', prefix: 'p' }))
    for (const driver of drivers) ends.push(() => driver.disconnect())
    await Promise.all(drivers.map((driver, i) => driver.set(`${i}`, 'text')))
    expect(await drivers[0]!.getMany(drivers.map((_, i) => `${i}`))).toEqual(drivers.map(() => 'text'))
  })

  test('leases that nobody asked for again are swept by prune', async () => {
    const a = await peer()
    const key = `key-${keys++}`
    await a.driver.lease.acquire(key, { attempt: 'a:1', ttlMs: 1, seen: '' })
    await sleep(50)
    await a.driver.prune()
    expect(await server.query(options.database, 'select key from bentocache_leases where key = $1', [`p:${key}`])).toEqual([])
  })
})

describe('when PostgreSQL is away', () => {
  test('a connection that is refused is an outage, an answer is none; disconnect settles', async () => {
    const driver = new PostgresDriver({ connection: { ...options, port: 1 }, prefix: 'p' })
    driver.lease.feed!.open({ store: 's', maxStalenessMs: 2_000, listener: { onEvent() {}, onVerified() {} } })
    const error = await driver.get('key').catch((error) => error)
    expect(driver.lease.isOutage(error)).toBe(true)
    const other = new PostgresDriver({ connection: options, tableName: 'nowhere', autoCreateTable: false })
    const answer = await other.get('key').catch((error) => error)
    expect(other.lease.isOutage(answer)).toBe(false)
    const startedAt = Date.now()
    await Promise.all([driver.disconnect(), driver.disconnect(), other.disconnect()])
    expect(Date.now() - startedAt).toBeLessThan(2_000)
  })

  test('after a restart of the server the feed stands again, and tables are used as before', async () => {
    const a = await peer()
    await a.driver.set('key', 'text')
    await server.restart()
    await until(() => a.events.some(({ kind }) => kind === 'gap'))
    expect(await a.driver.get('key')).toBe('text')
  }, 30_000)

  const connections: Record<string, () => { connection: any; close?: () => Promise<unknown> }> = {
    'options of pg': () => ({ connection: options }),
    'a pool without a listener': () => {
      const pool = new pg.Pool(options)
      return { connection: pool, close: () => pool.end() }
    },
    'a knex': () => {
      const db = knex({ client: 'pg', connection: options, log: { warn() {}, error() {} } })
      return { connection: db, close: () => db.destroy() }
    },
  }
  test.each(Object.entries(connections))('a server that is killed under traffic is no unhandled error: %s', async (_, open) => {
    const unhandled: unknown[] = []
    const note = (error: unknown) => void unhandled.push(error)
    for (const event of ['uncaughtException', 'unhandledRejection']) process.on(event, note)
    ends.push(() => ['uncaughtException', 'unhandledRejection'].forEach((event) => process.off(event, note)))
    const { connection, close = async () => {} } = open()
    ends.push(close)
    const [a, b] = [await peer({ connection }), await peer({ connection })]
    const counts = { answered: 0, failed: 0 }
    let isOver = false
    const call = (one: Peer, i: number): Promise<unknown> => {
      if (i % 3 === 0) return one.driver.set(`key-${i}`, 'text', 60_000)
      return i % 3 === 1 ? one.driver.get(`key-${i}`) : ask(one, `lease-${i}`)
    }
    const traffic = Array.from({ length: 20 }, async (_, i) => {
      while (!isOver) {
        const isAnswered = await call(i % 2 === 0 ? a : b, i).then(() => true, () => false)
        counts[isAnswered ? 'answered' : 'failed']++
        await sleep(2)
      }
    })
    await sleep(200)
    await server.kill()
    await sleep(200)
    await server.restart()
    counts.answered = 0
    await until(() => counts.answered > 100)
    isOver = true
    await Promise.all(traffic)
    expect(counts.failed).toBeGreaterThan(0)
    expect(unhandled).toEqual([])
  })

  test('what is no connection is refused by name', () => {
    for (const connection of [undefined, null, 'postgres://', 42, new Map()]) {
      expect(() => postgresDriver({ connection: connection as any })).toThrow(/connection/)
    }
  })
})

/** PostgreSQL's protocol without its NotificationResponse, as a pooler in transaction mode passes it on. */
function startDeafProxy(port: number): Promise<Server> {
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const backend = connect(port, options.host)
    for (const socket of [client, backend]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    client.on('close', () => backend.destroy())
    backend.on('close', () => client.destroy())
    client.pipe(backend)
    let buffered = Buffer.alloc(0)
    backend.on('data', (chunk) => {
      buffered = Buffer.concat([buffered, chunk])
      while (buffered.length >= 5 && buffered.length > buffered.readUInt32BE(1)) {
        const message = buffered.subarray(0, buffered.readUInt32BE(1) + 1)
        buffered = buffered.subarray(message.length)
        if (message[0] !== 'A'.charCodeAt(0)) client.write(message)
      }
    })
  })
  const close = proxy.close.bind(proxy)
  proxy.close = (done) => {
    for (const socket of sockets) socket.destroy()
    return close(done)
  }
  return new Promise((resolve) => proxy.listen(0, options.host, () => resolve(proxy)))
}
