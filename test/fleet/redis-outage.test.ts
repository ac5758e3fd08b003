import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { endFleet, herd, runsOf, startFleet } from '../support/fleet.js'
import type { Process } from '../support/process.js'
import { freePort, startRedis, startSentinel } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

let redis: RedisServer | undefined
let fleet: Process[] = []
afterEach(async () => {
  for (const one of fleet) expect(await one.ask('unhandledRejections')).toEqual([])
  await endFleet(fleet)
  await redis?.stop()
  redis = undefined
})

const config = (more: Record<string, unknown> = {}) => ({ connection: { host: redis!.host, port: redis!.port }, ...more })

/** Milliseconds of a getOrSet whose factory takes 20. */
async function timed(one: Process, key: string): Promise<{ ms: number; runs: number }> {
  const { runs, startedAt, endedAt } = await one.ask('herd', key, 1, 'value', 20)
  return { ms: endedAt - startedAt, runs }
}

test('[row 10] [issue 3, row 5] Redis is SIGKILLed under load for 5 s and restarted empty: bounded misses, free hits, then one run fleet-wide', async () => {
  redis = await startRedis()
  fleet = await startFleet(5, config({ bus: true }))
  for (const one of fleet) await one.ask('herd', 'warm', 1, 'value', 5)
  await redis.kill()
  const killedAt = Date.now()

  const first = await Promise.all(fleet.map((one) => timed(one, 'during-1')))
  for (const { ms, runs } of first) {
    expect(runs).toBeLessThanOrEqual(1)
    expect(ms).toBeLessThan(20 + 1_500 + 500)
  }
  let misses = 0
  while (Date.now() - killedAt < 5_000) {
    for (const one of fleet) {
      const warm = await timed(one, 'warm')
      expect(warm.runs).toBe(0)
      expect(warm.ms).toBeLessThan(100)
      const known = await timed(one, `during-${2 + (misses++ % 3)}`)
      expect(known.ms).toBeLessThan(20 + 50 + 150)
    }
  }
  // At most one query per key and process: three keys, whatever the number of calls.
  await Promise.all(fleet.map((one) => one.ask('forgetRuns')))
  for (const one of fleet) for (let i = 2; i < 5; i++) expect((await timed(one, `during-${i}`)).runs).toBe(0)

  await redis.restart({ empty: true })
  await sleep(3_000)
  for (const key of ['warm', 'during-2', 'after']) {
    const { runs, outcomes } = await herd(fleet, key, 20)
    expect(outcomes).toEqual({ [key]: 100 })
    expect(runs).toBeLessThanOrEqual(1)
  }
  // Coherence is back: what one deletes is gone in the others.
  await fleet[0]!.ask('remove', 'warm')
  await sleep(200)
  for (const one of fleet) expect(await one.ask('get', 'warm')).toBeUndefined()
})

test('[row 10] [issue 3, row 5] Redis is frozen for 3 s: hits go on, misses are bounded, nothing hangs', async () => {
  redis = await startRedis()
  fleet = await startFleet(3, config())
  for (const one of fleet) await one.ask('herd', 'warm', 1, 'value', 5)
  redis.pause()
  const frozenAt = Date.now()
  expect((await timed(fleet[0]!, 'warm')).ms).toBeLessThan(150)
  const first = await timed(fleet[0]!, 'cold-1')
  expect(first.ms).toBeLessThan(20 + 1_500 + 500)
  const second = await timed(fleet[0]!, 'cold-2')
  expect(second.ms).toBeLessThan(20 + 50 + 150)
  await sleep(3_000 - (Date.now() - frozenAt))
  expect((await timed(fleet[0]!, 'warm')).ms).toBeLessThan(150)
  redis.resume()
  await sleep(1_500)
  const { runs } = await herd(fleet, 'thawed', 50)
  expect(runs).toBe(1)
})

test('[issue 3, row 5] Redis is unreachable at the start: the cache works, and joins the fleet when it comes up', async () => {
  const port = await freePort()
  const connection = { host: '127.0.0.1', port }
  fleet = await startFleet(2, { connection, bus: true })
  expect((await timed(fleet[0]!, 'a')).runs).toBe(1)
  expect(await timed(fleet[0]!, 'a')).toMatchObject({ runs: 0 })
  expect((await timed(fleet[0]!, 'b')).ms).toBeLessThan(20 + 50 + 150)
  redis = await startRedis({ port })
  await sleep(3_500)
  const { runs } = await herd(fleet, 'up', 50)
  expect(runs).toBe(1)
  await fleet[0]!.ask('set', 'shared', 1)
  expect(await fleet[1]!.ask('get', 'shared')).toBe(1)
  await fleet[0]!.ask('set', 'shared', 2)
  await sleep(200)
  expect(await fleet[1]!.ask('get', 'shared')).toBe(2)
})

test('[34] a delete that Redis did not take is sent again: the old value does not come back', async () => {
  redis = await startRedis()
  fleet = await startFleet(2, config())
  await fleet[0]!.ask('set', 'revoked', 'old', { ttl: '1h' })
  expect(await fleet[1]!.ask('get', 'revoked')).toBe('old')
  redis.pause()
  await fleet[0]!.ask('remove', 'revoked')
  expect(await fleet[0]!.ask('get', 'revoked')).toBeUndefined()
  redis.resume()
  await sleep(3_000)
  for (const one of fleet) expect(await one.ask('get', 'revoked')).toBeUndefined()
})

test('[row 10] a Sentinel failover during a flight: at most 2 runs, and the fleet goes on with the new master', async () => {
  const sentinel = await startSentinel()
  try {
    fleet = await startFleet(4, { connection: { sentinels: sentinel.sentinels, name: sentinel.name } })
    const herding = herd(fleet, 'failover', 50, 'value', 2_500)
    await sleep(700)
    await sentinel.failover()
    const { runs, outcomes } = await herding
    expect(outcomes).toEqual({ failover: 200 })
    expect(runs).toBeLessThanOrEqual(2)
    await sleep(2_500)
    const after = await herd(fleet, 'after', 50)
    expect(after).toMatchObject({ runs: 1, outcomes: { after: 200 } })
    expect(await runsOf(fleet)).toBe(1)
  } finally {
    await endFleet(fleet)
    fleet = []
    await sentinel.stop()
  }
})
