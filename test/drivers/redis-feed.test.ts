import { setTimeout as sleep } from 'node:timers/promises'
import { Redis as Redis6 } from 'ioredis-6'
import { createClient } from 'redis'
import { createClient as createClient5 } from 'redis-5'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Acquired, FeedEvent, Lease, LeaseCapability, Logger } from '../../src/base/contract.js'
import { Codec } from '../../src/base/entry.js'
import { RedisDriver } from '../../src/drivers/redis/redis.js'
import type { RedisConfig } from '../../src/drivers/redis/redis.js'
import { startProxy } from '../support/proxy.js'
import { startRedis, until } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

let server: RedisServer
let serial = 0
const drivers: RedisDriver[] = []

beforeAll(async () => {
  server = await startRedis({
    acl: [
      'deaf on >pw ~* +@all resetchannels',
      'mute on >pw ~* &* +@all -publish',
      'scriptless on >pw ~* &* +@all -eval -evalsha -script',
    ],
  })
})
afterEach(async () => {
  await Promise.all(drivers.splice(0).map((driver) => driver.disconnect()))
})
afterAll(() => server.stop())

interface Peer {
  lease: LeaseCapability
  driver: RedisDriver
  events: FeedEvent[]
  verified: number[]
  /** Once its subscription stands. */
  standing: Promise<void>
}

/** A process of its own: another connection, another origin. */
function peer(o: { store?: string; maxStalenessMs?: number } & Partial<RedisConfig> = {}): Peer {
  const { store = 's', maxStalenessMs = 2_000, connection, ...config } = o
  const own = { host: server.host, port: server.port, connectionName: `peer${serial++}` }
  const driver = new RedisDriver({ prefix: 'p', connection: { ...own, ...connection }, ...config })
  drivers.push(driver)
  const { lease } = driver
  const [events, verified]: [FeedEvent[], number[]] = [[], []]
  const onEvent = (event: FeedEvent) => void events.push(event)
  lease.feed!.open({ store, maxStalenessMs, listener: { onEvent, onVerified: (until) => void verified.push(until) } })
  return { lease, driver, events, verified, standing: until(() => events.length > 0) }
}

async function pair(o: Parameters<typeof peer>[0] = {}): Promise<[Peer, Peer]> {
  const peers: [Peer, Peer] = [peer(o), peer(o)]
  await Promise.all(peers.map(({ standing }) => standing))
  for (const { events } of peers) events.length = 0
  return peers
}

const envelope = (value: unknown) => new Codec().encode(value, Date.now(), Infinity, [])
const leaseIn = (acquired: Acquired): Lease => (acquired as Extract<Acquired, { kind: 'granted' }>).lease
const acquire = ({ lease }: Peer, key: string, seen = '') => lease.acquire(key, { attempt: `x:${serial++}`, ttlMs: 5_000, seen })

describe('events', () => {
  test('reach every process in the order of the writes, and say whose they are', async () => {
    const [a, b] = await pair()
    await a.lease.invalidate(['k|1'], 'delete')
    await b.lease.put('k2', envelope(1), null)
    await a.lease.invalidate(['k2'], 'expire')
    const time = await b.lease.mark(['___bc:t:t'], (at) => new Codec().encode(at, at, Infinity, []))
    await a.lease.clear('users')
    const lease = leaseIn(await acquire(b, 'k'))
    await b.lease.fulfill(lease, envelope(2), { keepMs: null })
    await a.driver.pull('k')
    await until(() => a.events.length === 7 && b.events.length === 7)
    const seen = b.events.map(({ kind, key, own }) => `${kind} ${key} ${own ? 'own' : 'theirs'}`)
    expect(seen).toEqual([
      'deleted k|1 theirs',
      'put k2 own',
      'expired k2 theirs',
      'tagged ___bc:t:t own',
      'cleared users theirs',
      'stored k own',
      'deleted k theirs',
    ])
    expect(a.events.map(({ own }) => own)).toEqual(b.events.map(({ own }) => !own))
    expect(a.events[3]!.time).toBe(time)
    expect(a.events[5]!.term).toBe(lease.term)
  })

  test('carry a stored value only if somebody waited and it is small', async () => {
    const [a, b] = await pair()
    const store = async (key: string, value: unknown, isWanted: boolean) => {
      const lease = leaseIn(await acquire(a, key))
      if (isWanted) await acquire(b, key)
      await a.lease.fulfill(lease, envelope(value), { keepMs: null })
    }
    await store('unwanted', 1, false)
    await store('small', 1, true)
    await store('large', 'x'.repeat(9_000), true)
    await until(() => b.events.length === 3)
    const texts = b.events.map(({ text }) => text && new Codec().decode(text)?.body)
    expect(texts).toEqual([undefined, 1, undefined])
  })

  test('bring the value of a refused leader to who was held in its term, if it is small', async () => {
    const [a, b] = await pair()
    for (const [value, kinds] of [
      ['small', ['deleted', 'value']],
      ['x'.repeat(9_000), ['deleted', 'again']],
    ] as const) {
      const lease = leaseIn(await acquire(a, 'k'))
      await acquire(b, 'k')
      const watch = b.lease.watch('k')
      await b.lease.invalidate(['k'], 'delete')
      expect(await a.lease.fulfill(lease, envelope(value), { keepMs: null })).toBe('refused')
      const text = envelope(value)
      expect(await a.lease.settle(lease, { kind: 'value', text }, { followers: false, backoffMs: 0 })).toBe('lost')
      const events = [await watch.next('', 1_000), await watch.next('', 1_000)] as FeedEvent[]
      expect(events.map(({ kind }) => kind)).toEqual(kinds)
      expect(events[1]).toMatchObject({ term: lease.term, ...(value === 'small' && { text }) })
      watch.close()
    }
  })

  test('stay within a store, a prefix, a database and a keyPrefix', async () => {
    const here = peer()
    const elsewhere = [
      peer({ store: 'other' }),
      peer({ prefix: 'p2' }),
      peer({ connection: { db: 1 } }),
      peer({ connection: { keyPrefix: 'kp:' } }),
    ]
    await Promise.all([here, ...elsewhere].map(({ standing }) => standing))
    for (const { events } of [here, ...elsewhere]) events.length = 0
    for (const other of elsewhere) {
      await other.lease.put('k', envelope('theirs'), null)
      await other.lease.invalidate(['k'], 'delete')
      const lease = leaseIn(await acquire(other, 'k'))
      await other.lease.fulfill(lease, envelope('theirs'), { keepMs: null })
    }
    await here.lease.invalidate(['last'], 'delete')
    await until(() => here.events.length > 0)
    expect(here.events.map(({ key }) => key)).toEqual(['last'])
    for (const { events } of elsewhere) expect(events.every(({ own }) => own)).toBe(true)
  })

  test('of a watch are those of its key, buffered from the moment it was opened', async () => {
    const [a, b] = await pair()
    const watch = b.lease.watch('k')
    await a.lease.invalidate(['other', 'k'], 'delete')
    await a.lease.clear('')
    await until(() => b.events.length === 3)
    const kinds = [await watch.next('', 1_000), await watch.next('', 1_000)].map((event) => event !== 'timeout' && event.kind)
    expect(kinds).toEqual(['deleted', 'cleared'])
    expect(await watch.next('', 20)).toBe('timeout')
    watch.close()
    const nested = b.lease.watch('users:1')
    await a.lease.clear('user')
    await a.lease.clear('users')
    expect(await nested.next('', 1_000)).toMatchObject({ kind: 'cleared', key: 'users' })
    nested.close()
  })
})

describe('a gap', () => {
  test('is told when the subscription first stands, and each time it stands anew', async () => {
    const one = peer()
    await one.standing
    expect(one.events).toEqual([{ kind: 'gap', key: '', term: '', own: false }])
    const watch = one.lease.watch('k')
    for (let times = 2; times <= 3; times++) {
      await server.client().call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until(() => one.events.length === times)
      expect(one.events.at(-1)).toMatchObject({ kind: 'gap' })
      expect(await watch.next('', 1_000)).toMatchObject({ kind: 'gap' })
    }
    const other = peer()
    await other.standing
    await other.lease.invalidate(['k'], 'delete')
    expect(await watch.next('', 5_000)).toMatchObject({ kind: 'deleted', own: false })
    watch.close()
  })

  test.each(['ioredis 6', 'redis 6', 'redis 5', 'a subscriber of the user’s'])('is told by every kind of client: %s', async (kind) => {
    const url = server.url
    const redis6 = new Redis6(url)
    const nodeRedis = await (kind === 'redis 5' ? (createClient5 as unknown as typeof createClient) : createClient)({ url }).connect()
    const [client, given] = [server.client(), server.client()]
    const config = kind.startsWith('redis') ? { connection: nodeRedis } : kind === 'ioredis 6' ? { connection: redis6 } : { connection: client, subscriber: given }
    const driver = new RedisDriver({ prefix: 'p', ...config })
    const events: string[] = []
    const listener = { onEvent: ({ kind, key }: FeedEvent) => void events.push(kind + key), onVerified: () => void verified++ }
    let verified = 0
    driver.lease.feed!.open({ store: kind, maxStalenessMs: 200, listener })
    await until(() => events.length === 1)
    for (let times = 2; times <= 3; times++) {
      await server.client().call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until(() => events.length === times)
      const before = verified
      await until(() => verified > before)
    }
    await driver.lease.invalidate(['k'], 'delete')
    await until(() => events.length === 4)
    expect(events).toEqual(['gap', 'gap', 'gap', 'deletedk'])
    await driver.disconnect()
    redis6.disconnect()
    nodeRedis.destroy()
  })

  test('comes after the server was away at the start', async () => {
    const proxy = await startProxy(server)
    await proxy.refuse(true)
    const late = peer({ connection: { port: proxy.port } })
    const from = Date.now()
    const watch = late.lease.watch('k')
    expect(await watch.next('', 60_000)).toBe('timeout') // nothing is heard yet, so it looks again soon
    expect(Date.now() - from).toBeLessThan(1_000)
    await proxy.refuse(false)
    await late.standing
    await until(() => late.verified.length > 0)
    watch.close()
  })

  test('is found, too, where a connection is silently dead', async () => {
    const proxy = await startProxy(server)
    const one = peer({ connection: { port: proxy.port }, maxStalenessMs: 800 })
    await one.standing
    await until(() => one.verified.length > 1)
    proxy.blackHole(true)
    await sleep(1_500)
    const last = one.verified.at(-1)!
    expect(last).toBeLessThan(Date.now())
    await sleep(7_000) // unanswered for 5 s; the client gives it 2 s to say goodbye
    proxy.blackHole(false)
    await until(() => one.events.filter(({ kind }) => kind === 'gap').length > 1)
    await until(() => one.verified.at(-1)! > Date.now())
  })
})

describe('verification', () => {
  test('reaches as far as the last question that was answered', async () => {
    const one = peer({ maxStalenessMs: 400 })
    await until(() => one.verified.length >= 4)
    expect(one.verified.at(-1)!).toBeGreaterThan(Date.now())
    expect(one.verified.at(-1)!).toBeLessThanOrEqual(Date.now() + 400)
    server.pause()
    await sleep(600)
    expect(one.verified.at(-1)!).toBeLessThan(Date.now())
    server.resume()
    await until(() => one.verified.at(-1)! > Date.now())
    expect(one.lease.feed!.look(Date.now())).toBe(false)
  })

  test('comes after the events it vouches for', async () => {
    const [a, b] = await pair({ maxStalenessMs: 40 })
    for (let i = 0; i < 30; i++) {
      await a.lease.invalidate([`k${i}`], 'delete')
      const acknowledged = Date.now()
      await until(() => b.verified.at(-1)! - 40 > acknowledged)
      expect(b.events.some(({ key }) => key === `k${i}`)).toBe(true)
    }
  })

  test('costs one PING and one TIME each quarter', async () => {
    const one = peer({ maxStalenessMs: 400 })
    await one.standing
    await sleep(50)
    await server.resetStats()
    await sleep(1_050)
    const { ping, time } = await server.commandStats()
    for (const count of [ping!, time!]) {
      expect(count).toBeGreaterThanOrEqual(7)
      expect(count).toBeLessThanOrEqual(11)
    }
    await one.driver.disconnect()
    await server.resetStats()
    await sleep(300)
    expect(await server.commandStats()).not.toHaveProperty('ping')
  })

  test('knows how far the server’s clock is from ours', async () => {
    const ahead = 90_000
    const clock = {
      now: () => Date.now() + ahead,
      setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms).unref(),
      clearTimeout: (handle: unknown) => clearTimeout(handle as NodeJS.Timeout),
    }
    const one = peer({ clock, maxStalenessMs: 100 })
    await until(() => one.verified.length > 3)
    expect(Math.abs(one.lease.offset() + ahead)).toBeLessThan(50)
    expect(one.verified.at(-1)!).toBeGreaterThan(Date.now() + ahead - 200)
  })
})

describe('without the right', () => {
  const logged = () => {
    const warnings: string[] = []
    const logger = { warn: (_: unknown, message: string) => void warnings.push(message) } as unknown as Logger
    return { warnings, logger }
  }

  test.each([
    ['deaf', /no right to subscribe to/],
    ['mute', /no right to publish to/],
  ])('to its channel (%s): one warning, waiting by looking, L1 not held up', async (username, warning) => {
    const { warnings, logger } = logged()
    const one = peer({ connection: { username, password: 'pw' }, logger, maxStalenessMs: 200 })
    await until(() => one.verified.includes(Infinity))
    await one.lease.put('k', envelope(1), null)
    await one.lease.invalidate(['k'], 'delete')
    await one.lease.clear('')
    expect(warnings.filter((message) => warning.test(message))).toHaveLength(1)
    expect(one.lease.leaseInfo).toMatchObject({ wakeup: 'poll', feed: false })
    const watch = one.lease.watch('unheard')
    const pauses: number[] = []
    for (const from = Date.now(); Date.now() - from < 1_500; ) {
      const asked = Date.now()
      const event = await watch.next('', 60_000)
      if (event === 'timeout') pauses.push(Date.now() - asked)
    }
    watch.close()
    // Quick at first, 250 ms in the end; a busy machine may add to each.
    expect(pauses[0]!).toBeLessThan(200)
    expect(Math.max(...pauses)).toBeLessThan(1_000)
    expect(pauses.length).toBeGreaterThan(4)
    expect(pauses.length).toBeLessThan(60)
  })

  test('to run scripts: no leases, and everything else', async () => {
    const one = peer({ connection: { username: 'scriptless', password: 'pw' } })
    await one.standing
    const refusal = await acquire(one, 'k').catch((error: Error) => error)
    expect(refusal).toBeInstanceOf(Error)
    expect(one.lease.isOutage(refusal)).toBe(false)
    const now = Date.now()
    await one.lease.put('k', new Codec().encode('v', now, now + 60_000, ['t']), 60_000)
    expect(await one.lease.invalidate(['k', 'no'], 'expire')).toEqual([true, false])
    const entry = new Codec().decode((await one.driver.get('k'))!)!
    expect([entry.body, entry.tags, entry.freshUntil <= Date.now()]).toEqual(['v', ['t'], true])
    expect(await one.driver.remainingTtl('k')).toBeGreaterThan(50_000)
    const mark = (time: number) => new Codec().encode(time, time, Infinity, [])
    const first = await one.lease.mark(['m'], mark)
    expect(await one.lease.mark(['m'], mark)).toBeGreaterThan(first)
    expect(await one.lease.invalidate(['k'], 'delete')).toEqual([true])
    await one.lease.clear('')
    expect(await one.driver.get('m')).toBeUndefined()
    const kinds = one.events.map(({ kind }) => kind).filter((kind) => kind !== 'gap')
    expect(kinds).toEqual(['put', 'expired', 'tagged', 'tagged', 'deleted', 'cleared'])
  })
})
