import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Acquired, FeedEvent, Lease, LeaseCapability } from '../../src/base/contract.js'
import { Codec } from '../../src/base/entry.js'
import { IoredisClient } from '../../src/drivers/redis/ioredis.js'
import { RedisDriver } from '../../src/drivers/redis/redis.js'
import { FULFILL } from '../../src/drivers/redis/scripts.js'
import { startProxy } from '../support/proxy.js'
import type { Proxy } from '../support/proxy.js'
import { freePort, startRedis, startSentinel, until } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

let server: RedisServer
let proxy: Proxy
let serial = 0
const ends: (() => unknown)[] = []
const rejections: unknown[] = []
const onRejection = (reason: unknown) => void rejections.push(reason)

beforeAll(async () => {
  process.on('unhandledRejection', onRejection)
  server = await startRedis()
  proxy = await startProxy(server)
})
beforeEach(() => server.client().flushall())
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
  expect(rejections).toEqual([])
})
afterAll(async () => {
  process.off('unhandledRejection', onRejection)
  await server.stop()
})

interface Peer {
  lease: LeaseCapability
  driver: RedisDriver
  events: FeedEvent[]
  until: () => number
}

function peer(client: Redis): Peer {
  client.on('error', () => {})
  const driver = new RedisDriver({ prefix: 'p', connection: client })
  ends.push(async () => {
    await driver.disconnect()
    client.disconnect()
  })
  const events: FeedEvent[] = []
  let verifiedUntil = 0
  const onEvent = (event: FeedEvent) => void events.push(event)
  driver.lease.feed!.open({ store: 's', maxStalenessMs: 800, listener: { onEvent, onVerified: (ms) => (verifiedUntil = ms) } })
  return { driver, lease: driver.lease, events, until: () => verifiedUntil }
}

/** A process whose connections break at our will. */
function shaky(options: RedisOptions = {}): Peer {
  return peer(new Redis(proxy.port, { retryStrategy: () => 10, ...options }))
}

const envelope = (value: unknown) => new Codec().encode(value, Date.now(), Infinity, [])
const leaseIn = (acquired: Acquired): Lease => (acquired as Extract<Acquired, { kind: 'granted' }>).lease
const question = (seen = '') => ({ attempt: `x:${serial++}`, ttlMs: 5_000, seen })
const stores = (peer: Peer, key: string) => peer.events.filter((event) => event.kind === 'stored' && event.key === key)

describe('a lost reply', () => {
  const clients: [string, RedisOptions][] = [
    ['a client that gives up at once', { maxRetriesPerRequest: 0 }],
    ['a client that sends again', {}],
    ['a client that never sends again', { autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 }],
  ]
  for (const [name, options] of clients) {
    for (const size of [10, 50_000]) {
      test(`grants and stores once, ${name}, ${size} bytes`, async () => {
        const witness = peer(server.client())
        await until(() => witness.events.length > 0)
        const one = shaky(options)
        await one.driver.get('warm')
        let lost = 0
        const again = async <T>(operation: () => Promise<T>): Promise<T> => {
          for (let tries = 0; ; tries++) {
            const answer = await operation().catch((error: unknown) => error as Error)
            if (!(answer instanceof Error)) return answer
            expect(one.lease.isOutage(answer)).toBe(true)
            lost++
            if (tries > 200) throw answer
            await sleep(10)
          }
        }
        for (let i = 0; i < 10; i++) {
          const key = `k${i}`
          const asked = question()
          proxy.loseReplies(1)
          const granted = leaseIn(await again(() => one.lease.acquire(key, asked)))
          expect(granted.attempt).toBe(asked.attempt)
          const text = envelope('x'.repeat(size))
          proxy.loseReplies(1)
          expect(await again(() => one.lease.fulfill(granted, text, { keepMs: null }))).toBe('stored')
          expect((await witness.lease.acquire(key, question())).kind).toBe('changed')
          proxy.loseReplies(1)
          await again(() => one.lease.invalidate([key], 'delete'))
        }
        const last = leaseIn(await witness.lease.acquire('last', question()))
        await witness.lease.fulfill(last, envelope(1), { keepMs: null })
        await until(() => stores(witness, 'last').length === 1)
        for (let i = 0; i < 10; i++) expect(stores(witness, `k${i}`)).toHaveLength(1)
        if (options.maxRetriesPerRequest === 0) expect(lost).toBeGreaterThan(10)
        expect(await server.client().keys('p:___bc:*')).toEqual([])
      })
    }
  }

  test('that came back late never stores over an invalidation', async () => {
    const witness = peer(server.client())
    const one = shaky()
    for (let i = 0; i < 20; i++) {
      const lease = leaseIn(await one.lease.acquire('k', question()))
      proxy.loseReplies(1)
      const fulfilled = one.lease.fulfill(lease, envelope('old'), { keepMs: null }).catch(() => 'lost')
      await sleep(5)
      await witness.lease.invalidate(['k'], 'delete') // before the command is sent again
      expect(['stored', 'refused', 'lost']).toContain(await fulfilled)
      expect(await witness.driver.get('k')).toBeUndefined()
    }
  })

  test('to a large text, sent again without it: asked for once more, not taken for refused', async () => {
    const { lease } = peer(server.client())
    const client = new IoredisClient(server.client(), { isOurs: false })
    const { term, seen } = leaseIn(await lease.acquire('k', question()))
    const text = envelope('x'.repeat(50_000))
    await server.client().set('p:staged', text)
    const again = () => FULFILL.run(client, ['p:k', 'p:___bc:l:{p:k}', 'p:staged'], [term, '', '', seen, '', ''])
    expect(await again()).toBe('stored')
    expect(await again()).toBe('restage')
    await server.client().set('p:staged', text)
    expect(await again()).toBe('stored')
    await lease.put('k', envelope('other'), null)
    await server.client().set('p:staged', text)
    expect(await again()).toBe('refused')
  })

  test('cuts at random: every operation settles, no term is stored twice', async () => {
    const witness = peer(server.client())
    await until(() => witness.events.length > 0)
    const peers = [shaky({ maxRetriesPerRequest: 3 }), shaky({ maxRetriesPerRequest: 3 })]
    let isOver = false
    const cutting = (async () => {
      while (!isOver) {
        await sleep(Math.random() * 40)
        proxy.cut()
      }
    })()
    let stored = 0
    const from = Date.now()
    const running = peers.map(async ({ lease, driver }, n) => {
      for (let i = 0; Date.now() - from < 3_000; i++) {
        const key = `k${i % 5}`
        try {
          const acquired = await lease.acquire(key, question(lease.fingerprint(await driver.get(key))))
          if (acquired.kind !== 'granted') await lease.invalidate([key], 'delete')
          else if ((await lease.fulfill(acquired.lease, envelope(n), { keepMs: null })) === 'stored') stored++
        } catch (error) {
          expect(lease.isOutage(error), String(error)).toBe(true)
        }
      }
    })
    const isLate = sleep(20_000).then(() => 'hanging')
    expect(await Promise.race([Promise.all(running), isLate])).not.toBe('hanging')
    isOver = true
    await cutting
    expect(stored).toBeGreaterThan(10)
    const terms = witness.events.filter(({ kind }) => kind === 'stored').map(({ term }) => term)
    expect(new Set(terms).size).toBe(terms.length)
  })
})

test('a tag’s mark that arrives late does not take back a younger one', async () => {
  const slow = await startProxy(server)
  const [late, quick] = [peer(new Redis(slow.port)), peer(server.client())]
  const mark = (time: number) => new Codec().encode(time, time, Infinity, [])
  await late.lease.mark(['m'], mark)
  slow.latency(60)
  const delayed = late.lease.mark(['m'], mark)
  await sleep(90) // it has read, and not written
  const young = await quick.lease.mark(['m'], mark)
  expect(await delayed).toBe(young)
  expect(await quick.driver.get('m')).toBe(mark(young))
})

test('scripts that the server has forgotten are sent again, in the middle of a computation', async () => {
  const [a, b] = [peer(server.client()), peer(server.client())]
  const forget = () => server.client().script('FLUSH')
  for (const value of ['small', 'x'.repeat(50_000)]) {
    await forget()
    const lease = leaseIn(await a.lease.acquire('k', question()))
    await forget()
    expect((await b.lease.acquire('k', question())).kind).toBe('held')
    await forget()
    expect(await a.lease.renew([{ lease, hold: true }], 1_000)).toEqual([true])
    await forget()
    expect(await a.lease.fulfill(lease, envelope(value), { keepMs: null })).toBe('stored')
    await forget()
    expect(await a.lease.invalidate(['k'], 'expire')).toEqual([true])
    await a.lease.invalidate(['k'], 'delete')
  }
  const lease = leaseIn(await a.lease.acquire('k', question()))
  await forget()
  expect(await a.lease.settle(lease, { kind: 'nothing' }, { followers: false, backoffMs: 0 })).toBe('ended')
  await forget()
  expect(await a.lease.mark(['m'], envelope)).toBeGreaterThan(0)
})

describe('a server', () => {
  test('that is killed and comes back empty is an outage, then a gap, then as before', async () => {
    const own = await startRedis()
    ends.push(() => own.stop())
    const one = peer(new Redis(own.port, { maxRetriesPerRequest: 1, retryStrategy: () => 20 }))
    await until(() => one.events.length === 1)
    const lease = leaseIn(await one.lease.acquire('k', question()))
    await own.kill()
    for (const operation of [
      () => one.driver.get('k'),
      () => one.lease.acquire('k2', question()),
      () => one.lease.fulfill(lease, envelope('x'.repeat(20_000)), { keepMs: null }),
      () => one.lease.settle(lease, { kind: 'nothing' }, { followers: false, backoffMs: 0 }),
      () => one.lease.renew([{ lease, hold: true }], 1_000),
      () => one.lease.invalidate(['k'], 'delete'),
      () => one.lease.invalidate(['a', 'b'], 'expire'),
      () => one.lease.mark(['m'], envelope),
      () => one.lease.clear(''),
    ]) {
      const error = await operation().catch((failure: unknown) => failure)
      expect(error, String(operation)).toBeInstanceOf(Error)
      expect(one.lease.isOutage(error), String(error)).toBe(true)
    }
    expect(one.until()).toBeLessThan(Date.now() + 800)
    await own.restart()
    await until(() => one.events.length === 2)
    expect(one.events[1]!.kind).toBe('gap')
    await until(() => one.until() > Date.now())
    expect(await one.lease.fulfill(lease, envelope('old'), { keepMs: null })).toBe('refused')
    expect((await one.lease.acquire('k', question())).kind).toBe('granted')
  })

  test('that freezes holds operations up and loses none', async () => {
    const own = await startRedis()
    ends.push(() => own.stop())
    const one = peer(own.client())
    await until(() => one.until() > 0)
    own.pause()
    const asked = one.lease.acquire('k', question())
    const early = await Promise.race([asked, sleep(300).then(() => 'waiting')])
    expect(early).toBe('waiting')
    own.resume()
    expect((await asked).kind).toBe('granted')
    expect(one.events).toHaveLength(1)
  })

  test('that was not there at the start is found when it comes', async () => {
    const port = await freePort()
    const driver = new RedisDriver({ prefix: 'p', connection: { host: '127.0.0.1', port } })
    ends.push(() => driver.disconnect())
    let gaps = 0
    driver.lease.feed!.open({ store: 's', maxStalenessMs: 800, listener: { onEvent: () => gaps++, onVerified() {} } })
    const early = driver.set('k', 'v')
    await sleep(300)
    const own = await startRedis({ port })
    ends.push(() => own.stop())
    expect(await early).toBe(true)
    await until(() => gaps >= 1)
    expect(await driver.get('k')).toBe('v')
  })

  test('that loads its data, or lost its primary, counts as an outage', async () => {
    const own = await startRedis()
    ends.push(() => own.stop())
    const one = peer(own.client())
    await own.client().replicaof('127.0.0.1', '1')
    const error = await one.driver.set('k', 'v').catch((failure: unknown) => failure)
    expect(String(error)).toMatch(/READONLY/)
    expect(one.lease.isOutage(error)).toBe(true)
    const asked = await one.lease.acquire('k', question()).catch((failure: unknown) => failure)
    expect(one.lease.isOutage(asked), String(asked)).toBe(true)
  })
})

test('a failover in the middle of a computation costs one more at most, and nothing stale', async () => {
  const sentinel = await startSentinel()
  ends.push(() => sentinel.stop())
  const [a, b] = [peer(sentinel.client()), peer(sentinel.client())]
  await until(() => a.events.length === 1 && b.events.length === 1)
  const lease = leaseIn(await a.lease.acquire('k', question()))
  await sentinel.failover()
  await until(() => a.events.length === 2 && b.events.length === 2, 30_000)
  const other = await b.lease.acquire('k', question())
  const answers = [await a.lease.fulfill(lease, envelope('a'), { keepMs: null })]
  // The lease was lost with the primary, had lapsed, or is still held: one result is stored.
  if (other.kind === 'granted') answers.push(await b.lease.fulfill(other.lease, envelope('b'), { keepMs: null }))
  expect(answers.filter((answer) => answer === 'stored')).toHaveLength(1)
  const text = await sentinel.replica.client().get('p:k')
  expect(text).not.toBeNull()
  await b.lease.invalidate(['k'], 'delete')
  await until(() => a.events.some(({ kind, own }) => kind === 'deleted' && !own))
})
