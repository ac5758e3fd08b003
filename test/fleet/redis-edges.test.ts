import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { endFleet, herd, startFleet } from '../support/fleet.js'
import type { Process } from '../support/process.js'
import { startCluster, startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

let redis: RedisServer | undefined
let fleet: Process[] = []
afterEach(async () => {
  for (const one of fleet) expect(await one.ask('unhandledRejections')).toEqual([])
  await endFleet(fleet)
  fleet = []
  await redis?.stop()
  redis = undefined
})

const connection = (more: Record<string, unknown> = {}) => ({ host: redis!.host, port: redis!.port, ...more })

test('[row 11] SCRIPT FLUSH in the middle of a flight: still one run, stored', async () => {
  redis = await startRedis()
  fleet = await startFleet(3, { connection: connection() })
  const herding = herd(fleet, 'flushed', 50, 'value', 600)
  await sleep(300)
  await redis.client().script('FLUSH')
  expect(await herding).toMatchObject({ runs: 1, outcomes: { flushed: 150 } })
  expect(await redis.client().exists('bentocache:flushed')).toBe(1)
})

test('[row 11] a user without EVAL: one run per process, values are shared, nothing fails', async () => {
  redis = await startRedis({ acl: ['limited on >pw ~* &* +@all -eval -evalsha -script'] })
  fleet = await startFleet(3, { connection: connection({ username: 'limited', password: 'pw' }) })
  const { runs, outcomes } = await herd(fleet, 'unscripted', 50)
  expect(outcomes).toEqual({ unscripted: 150 })
  expect(runs).toBeLessThanOrEqual(3)
  await fleet[0]!.ask('set', 'plain', 1)
  expect(await fleet[1]!.ask('get', 'plain')).toBe(1)
  await fleet[0]!.ask('expire', 'plain')
  await sleep(150)
  expect(await fleet[1]!.ask('get', 'plain')).toBeUndefined()
})

test('[row 11] a user limited to ~prefix:* and its channels: one run fleet-wide', async () => {
  redis = await startRedis({ acl: ['limited on >pw ~bentocache:* &* +@all'] })
  fleet = await startFleet(3, { connection: connection({ username: 'limited', password: 'pw' }) })
  expect(await herd(fleet, 'limited', 50)).toMatchObject({ runs: 1, outcomes: { limited: 150 } })
  await fleet[0]!.ask('clear')
  await sleep(150)
  expect(await fleet[1]!.ask('get', 'limited')).toBeUndefined()
})

test('[row 11] a user without channels: leases go on by polling', async () => {
  redis = await startRedis({ acl: ['limited on >pw ~* resetchannels +@all'] })
  fleet = await startFleet(3, { connection: connection({ username: 'limited', password: 'pw' }) })
  const { runs, outcomes, behindMs } = await herd(fleet, 'silent', 50, 'value', 300)
  expect({ runs, outcomes }).toEqual({ runs: 1, outcomes: { silent: 150 } })
  expect(behindMs).toBeLessThan(1_500)
  const failing = await herd(fleet, 'silent-failure', 20, 'failure', 100)
  expect(failing.runs).toBeLessThanOrEqual(2)
})

test('[row 11] two stores, prefixes and databases side by side on one server do not hear each other', async () => {
  redis = await startRedis()
  const neighbours = await Promise.all([
    startFleet(1, { connection: connection() }),
    startFleet(1, { connection: connection({ db: 1 }) }),
    startFleet(1, { connection: connection(), store: { prefix: 'other' } }),
    startFleet(1, { connection: connection({ keyPrefix: 'kp:' }) }),
    startFleet(1, { connection: connection(), storeName: 'second', store: { prefix: 'third' } }),
  ])
  fleet = neighbours.flat()
  const reports = await Promise.all(fleet.map((one, i) => one.ask('depart', 'same', `of ${i}`, 200)))
  expect(reports).toEqual(['runs', 'runs', 'runs', 'runs', 'runs'])
  for (const [i, one] of fleet.entries()) expect(await one.ask('landing', 'same')).toBe(`of ${i}`)
  await fleet[0]!.ask('remove', 'same')
  await fleet[1]!.ask('clear')
  await sleep(150)
  for (const [i, one] of fleet.entries()) expect(await one.ask('get', 'same')).toBe(i < 2 ? undefined : `of ${i}`)
})

test('[row 11] keyPrefix: one run, and clear takes what is below it and nothing beside', async () => {
  redis = await startRedis()
  fleet = await startFleet(3, { connection: connection({ keyPrefix: 'app:' }) })
  expect(await herd(fleet, 'prefixed', 50)).toMatchObject({ runs: 1 })
  await redis.client().set('bentocache:foreign', 'stays')
  expect(await redis.client().exists('app:bentocache:prefixed')).toBe(1)
  await fleet[0]!.ask('clear')
  expect(await redis.client().keys('*')).toEqual(['bentocache:foreign'])
})

test('[9] [row 11] a Cluster of 6 nodes: one run each for keys in every slot and with braces; delete and clear reach all of them', async () => {
  const cluster = await startCluster(6)
  try {
    fleet = await startFleet(3, { cluster: cluster.nodes })
    const keys = ['plain', '{tag}a', 'a{b}c', ...Array.from({ length: 12 }, (_, i) => `slot-${i * 37}`)]
    for (const key of keys) expect(await herd(fleet, key, 10, 'value', 20)).toMatchObject({ runs: 1, outcomes: { [key]: 30 } })
    // No place for their lease in the value's slot: one run per process, and everything else works.
    for (const key of ['a}b', '{}x']) {
      const { runs, outcomes } = await herd(fleet, key, 10, 'value', 20)
      expect(outcomes).toEqual({ [key]: 30 })
      expect(runs).toBeLessThanOrEqual(3)
    }
    await fleet[0]!.ask('remove', 'plain')
    await sleep(200)
    for (const one of fleet) expect(await one.ask('get', 'plain')).toBeUndefined()
    await fleet[0]!.ask('clear')
    await sleep(300)
    for (const key of keys) for (const one of fleet) expect(await one.ask('get', key)).toBeUndefined()
  } finally {
    await endFleet(fleet)
    fleet = []
    await cluster.stop()
  }
})

test('[row 12] commands of one process: 3 for a cold miss with its fill, 3 for a delete, 3 for a set, 1 for an L2 hit, 0 for an L1 hit', async () => {
  redis = await startRedis()
  fleet = await startFleet(2, { connection: connection() })
  const [one, other] = fleet
  await one!.ask('set', 'scripts', 0)
  await one!.ask('depart', 'loaded', 1, 0) // scripts are known to the server
  await one!.ask('landing', 'loaded')
  const costs = {
    'cold miss with its fill': await counted(async () => (await one!.ask('depart', 'cold', 1, 0), one!.ask('landing', 'cold'))),
    'L1 hit': await counted(() => one!.ask('get', 'cold')),
    'L2 hit': await counted(() => other!.ask('get', 'cold')),
    delete: await counted(() => one!.ask('remove', 'cold')),
    set: await counted(() => one!.ask('set', 'cold', 2)),
  }
  console.log(`commands: ${JSON.stringify(costs)}`)
  expect(costs).toEqual({ 'cold miss with its fill': 3, 'L1 hit': 0, 'L2 hit': 1, delete: 3, set: 3 })
})

test('[row 12] 10 processes on one cold key: at most 35 commands in all', async () => {
  redis = await startRedis()
  fleet = await startFleet(10, { connection: connection() })
  await fleet[0]!.ask('depart', 'loaded', 1, 0)
  await fleet[0]!.ask('landing', 'loaded')
  const commands = await counted(async () => {
    expect(await herd(fleet, 'cold', 10, 'value', 400)).toMatchObject({ runs: 1 })
  })
  console.log(`10 processes on one cold key: ${commands} commands`)
  expect(commands).toBeLessThanOrEqual(35)
})

test('[issue 3, row 13] a store with L2 and bus holds at most 2 connections', async () => {
  redis = await startRedis()
  const before = await redis.connections()
  fleet = await startFleet(1, { connection: connection(), bus: true })
  expect((await redis.connections()) - before).toBe(2)
})

/** What clients send while the work goes on; not what scripts call inside, nor what verifies the feed twice a second. */
async function counted(work: () => Promise<unknown>): Promise<number> {
  const monitor = await redis!.client().monitor()
  let commands = 0
  monitor.on('monitor', (_time: string, [name]: string[], source: string) => {
    if (source !== 'lua' && !['time', 'ping', 'info', 'client', 'subscribe'].includes(name!.toLowerCase())) commands++
  })
  await work()
  await sleep(100) // the monitor hears a little later
  monitor.disconnect()
  return commands
}
