import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { History, endFleet, randomOf, startFleet } from '../support/fleet.js'
import type { Process } from '../support/process.js'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

const PROCESSES = 6
const KEYS = Array.from({ length: 18 }, (_, i) => `k${i}`)
const SECONDS = 20

let redis: RedisServer
let database: RedisServer
let history: History
let fleet: Process[] = []
let seed: number
let random: () => number

beforeAll(async () => void ([redis, database] = await Promise.all([startRedis(), startRedis()])))
afterAll(() => Promise.all([redis.stop(), database.stop()]))
beforeEach(async () => {
  seed = Date.now() % 1_000_000
  random = randomOf(seed)
  history = new History()
  fleet = await startFleet(PROCESSES, config())
  await Promise.all(fleet.map((one, i) => begin(one, i)))
})
afterEach(async () => {
  await endFleet(fleet)
  history.remove()
  await redis.client().flushall()
  await database.client().flushall()
})

test(`[row 9] ${PROCESSES} processes, ${SECONDS} s of reads beside sets, deletes, expires and tags: no read is older than an acknowledgement`, async () => {
  await sleep(SECONDS * 1_000)
  await end()
  const found = history.judge()
  console.log(`history without faults, seed ${seed}: ${JSON.stringify(found)}`)
  expect(found.reads).toBeGreaterThan(2_000)
  expect(found.acks).toBeGreaterThan(200)
  expect(found.ofOwn).toBe(0)
  expect(found.worstMs, found.worst).toBeLessThan(250)
})

test(`[row 9] the same with SIGKILL, SIGSTOP, CLIENT KILL and CLIENT PAUSE: never by more than maxL1Staleness`, async () => {
  const admin = redis.client()
  const until = Date.now() + SECONDS * 1_000
  const faults: Record<string, number> = {}
  while (Date.now() < until) {
    await sleep(300 + random() * 700)
    const victim = Math.floor(random() * PROCESSES)
    const fault = ['SIGSTOP', 'SIGSTOP', 'SIGKILL', 'CLIENT KILL pubsub', 'CLIENT KILL normal', 'CLIENT PAUSE'][Math.floor(random() * 6)]!
    faults[fault] = (faults[fault] ?? 0) + 1
    if (fault === 'SIGSTOP') {
      fleet[victim]!.stop()
      await sleep(100 + random() * 900)
      fleet[victim]!.cont()
    } else if (fault === 'SIGKILL') {
      await fleet[victim]!.kill()
      fleet[victim] = (await startFleet(1, config()))[0]!
      await begin(fleet[victim]!, victim)
    } else if (fault === 'CLIENT PAUSE') await admin.call('CLIENT', 'PAUSE', '200')
    else await admin.call('CLIENT', 'KILL', 'TYPE', fault.split(' ')[2]!, 'SKIPME', 'yes')
  }
  await end()
  const found = history.judge()
  console.log(`history with ${JSON.stringify(faults)}, seed ${seed}: ${JSON.stringify(found)}`)
  expect(found.reads).toBeGreaterThan(2_000)
  expect(found.acks).toBeGreaterThan(100)
  expect(found.worstMs, found.worst).toBeLessThan(2_000)
  for (const one of fleet) expect(await one.ask('unhandledRejections')).toEqual([])
})

const config = () => ({ connection: { host: redis.host, port: redis.port } })

/** Each key has one writer: two that race would be ordered by Redis, not by the database. */
function begin(one: Process, i: number): Promise<void> {
  const mine = KEYS.filter((_, k) => k % PROCESSES === i)
  const db = { host: database.host, port: database.port }
  return one.ask('startHistory', { keys: KEYS, mine, database: db, file: history.file(), seed: seed + i })
}

async function end(): Promise<void> {
  for (const one of fleet) one.cont()
  await Promise.all(fleet.map((one) => one.ask('stopHistory')))
}
