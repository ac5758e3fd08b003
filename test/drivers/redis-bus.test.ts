import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Transport } from '../../src/base/contract.js'
import { transportCases } from '../../src/conformance/bus.js'
import { RedisDriver, redisBusDriver } from '../../src/drivers/redis/redis.js'
import { startProxy } from '../support/proxy.js'
import { startRedis, until } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

/** npm's bentocache 1.6.1, of the bench's own dependencies. */
const upstream = (path: string) => import(new URL(`../../bench/node_modules/bentocache/build/${path}`, import.meta.url).href)

const CHANNEL = 'bentocache.notifications:mt'
let server: RedisServer
let serial = 0
const ends: (() => unknown)[] = []

beforeAll(async () => {
  server = await startRedis({ acl: ['deaf on >pw ~* +@all resetchannels'] })
})
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})
afterAll(() => server.stop())

/** A transport of a process of its own, and what it hears. */
function transport(connection: object = {}): { bus: Transport; id: string; heard: unknown[] } {
  const own = { host: server.host, port: server.port, connectionName: `bus${serial++}` }
  const bus = redisBusDriver({ connection: { ...own, ...connection } }).factory()
  const id = `bus${serial}`.padEnd(24, 'x')
  ends.push(() => bus.disconnect())
  return { bus: bus.setId(id), id, heard: [] }
}

const message = (keys: string[], type = 'delete') => ({ type, keys, namespace: 'bentocache' })

describe('as any transport', () => {
  const createTransport = () => {
    const connection = { host: server.host, port: server.port, connectionName: `bus${serial++}` }
    return redisBusDriver({ connection }).factory()
  }
  for (const { name, run } of transportCases) test(name, () => run({ createTransport, assert }))
})

describe('the bus', () => {
  test('brings messages to all others, with the sender’s id, and none back', async () => {
    const peers = [transport(), transport(), transport()]
    await Promise.all(peers.map(({ bus, heard }) => bus.subscribe(CHANNEL, (payload, id) => void heard.push([payload, id]))))
    await peers[0]!.bus.publish(CHANNEL, message(['a', 'é🚀']))
    await peers[1]!.bus.publish('another', message(['b']))
    await peers[1]!.bus.publish(CHANNEL, message(['c'], 'set'))
    await until(() => peers[2]!.heard.length === 2)
    expect(peers[2]!.heard).toEqual([
      [message(['a', 'é🚀']), peers[0]!.id],
      [message(['c'], 'set'), peers[1]!.id],
    ])
    expect(peers[0]!.heard).toEqual([[message(['c'], 'set'), peers[1]!.id]])
  })

  test('has several handlers for a channel, and stops on request', async () => {
    const [a, b] = [transport(), transport()]
    const hear = (name: string) => a.bus.subscribe(CHANNEL, () => void a.heard.push(name))
    await Promise.all([hear('first'), hear('second')])
    await b.bus.publish(CHANNEL, message(['k']))
    await until(() => a.heard.length === 2)
    await a.bus.unsubscribe(CHANNEL)
    await until(async () => Number((await server.client().pubsub('NUMSUB', CHANNEL))[1]) === 0)
    await b.bus.publish(CHANNEL, message(['k']))
    await hear('third')
    await b.bus.publish(CHANNEL, message(['k']))
    await until(() => a.heard.length === 3)
    expect(a.heard).toEqual(['first', 'second', 'third'])
  })

  test('passes over what is no message', async () => {
    const [a, b] = [transport(), transport()]
    await a.bus.subscribe(CHANNEL, (payload) => void a.heard.push(payload))
    for (const noise of ['', 'x', '{"payload":{}}', 'y'.repeat(100)]) await server.client().publish(CHANNEL, noise)
    await b.bus.publish(CHANNEL, message(['k']))
    await until(() => a.heard.length === 1)
    expect(a.heard).toEqual([message(['k'])])
  })

  test('calls back once a lost link is subscribed again', async () => {
    const [a, b] = [transport(), transport()]
    let reconnections = 0
    a.bus.onReconnect(() => {
      reconnections++
      void b.bus.publish(CHANNEL, message([`after ${reconnections}`]))
    })
    await a.bus.subscribe(CHANNEL, (payload) => void a.heard.push(payload))
    expect(reconnections).toBe(0)
    for (const times of [1, 2]) {
      await server.client().call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until(() => a.heard.length === times)
      expect(reconnections).toBe(times)
    }
  })

  test('rejects what it could not send, and what nobody could', async () => {
    const proxy = await startProxy(server)
    const { bus } = transport({ port: proxy.port })
    await bus.publish(CHANNEL, message(['k']))
    await proxy.refuse(true)
    await sleep(100) // the client has noticed
    const from = Date.now()
    await expect(bus.publish(CHANNEL, message(['k']))).rejects.toThrow(/not sent/)
    expect(Date.now() - from).toBeLessThan(100)
    await expect(bus.publish(CHANNEL, { type: 'set', namespace: '', keys: [42] })).rejects.toThrow(TypeError)
    await proxy.refuse(false)
    await until(() => bus.publish(CHANNEL, message(['k'])).then(() => true))
  })

  test('says so when it may not subscribe', async () => {
    const { bus } = transport({ username: 'deaf', password: 'pw' })
    await expect(bus.subscribe(CHANNEL, () => {})).rejects.toThrow(/NOPERM/)
    await expect(bus.publish(CHANNEL, message(['k']))).rejects.toThrow(/NOPERM/)
  })

  test('shares the connections of a driver, and outlives it', async () => {
    const client = new Redis(server.port)
    const driver = new RedisDriver({ connection: client, prefix: 'p' })
    const a = transport()
    const bus = redisBusDriver({ connection: client }).factory().setId('y'.repeat(24))
    driver.lease.feed!.open({ store: 's', maxStalenessMs: 1_000, listener: { onEvent() {}, onVerified() {} } })
    await bus.subscribe(CHANNEL, (payload) => void a.heard.push(payload))
    await driver.disconnect()
    await a.bus.publish(CHANNEL, message(['k']))
    await until(() => a.heard.length === 1)
    await bus.disconnect()
    await bus.disconnect()
    expect(await client.ping()).toBe('PONG')
    client.disconnect()
  })

  test('waits for a server that is not there yet', async () => {
    const proxy = await startProxy(server)
    await proxy.refuse(true)
    const [a, b] = [transport({ port: proxy.port }), transport()]
    const subscribed = a.bus.subscribe(CHANNEL, (payload) => void a.heard.push(payload))
    await proxy.refuse(false)
    await subscribed
    await b.bus.publish(CHANNEL, message(['k']))
    await until(() => a.heard.length === 1)
  })

  test('keeps the options of its retry queue for whoever retries', () => {
    const retryQueue = { enabled: true, maxSize: 20, retryInterval: '1s' }
    expect(redisBusDriver({ connection: {}, retryQueue }).options).toEqual({ retryQueue })
    expect(redisBusDriver({ connection: {} }).options).toEqual({})
  })
})

test('1.6.1 and ours understand each other', async () => {
  const { BentoCache, bentostore } = await upstream('index.js')
  const { memoryDriver } = await upstream('src/drivers/memory.js')
  const theirs = await upstream('src/drivers/redis.js')
  const bento = new BentoCache({
    default: 'mt',
    stores: {
      mt: bentostore()
        .useL1Layer(memoryDriver({}))
        .useBus(theirs.redisBusDriver({ connection: { host: server.host, port: server.port } })),
    },
  })
  ends.push(() => bento.disconnectAll())
  const { bus, heard } = transport()
  await bus.subscribe(CHANNEL, (payload, id) => void heard.push({ ...payload, id: id!.length }))
  await bento.set({ key: 'k', value: 1 })
  await bento.namespace('users').delete({ key: 'é' })
  await bento.expire({ key: 'k' })
  await bento.clear()
  await until(() => heard.length === 4)
  expect(heard).toEqual([
    { type: 'set', keys: ['k'], namespace: 'bentocache', id: 24 },
    { type: 'delete', keys: ['é'], namespace: 'bentocache:users', id: 24 },
    { type: 'expire', keys: ['k'], namespace: 'bentocache', id: 24 },
    { type: 'clear', keys: [], namespace: 'bentocache', id: 24 },
  ])
  await bento.set({ key: 'k', value: 2 })
  await until(async () => Number((await server.client().pubsub('NUMSUB', CHANNEL))[1]) === 2)
  await bus.publish(CHANNEL, message(['k']))
  await until(async () => (await bento.get({ key: 'k' })) === undefined)
})
