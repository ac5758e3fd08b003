import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { endFleet, startFleet } from '../support/fleet.js'
import type { Process } from '../support/process.js'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

/** One Redis, one bus, three kinds of process: npm's bentocache 1.6.1, ours without leases, ours. */
let redis: RedisServer
let fleet: Process[] = []
const kinds = ['1.6.1', 'leases: false', 'ours'] as const

beforeAll(async () => {
  redis = await startRedis()
  const connection = { host: redis.host, port: redis.port }
  const started = await Promise.all([
    startFleet(1, { connection, version: '1.6.1' }),
    startFleet(1, { connection, bus: true, store: { leases: false } }),
    startFleet(1, { connection, bus: true }),
  ])
  fleet = started.flat()
})
afterAll(async () => {
  await endFleet(fleet)
  await redis.stop()
})

for (const [from, writer] of kinds.entries()) {
  for (const [to, reader] of kinds.entries()) {
    if (from === to) continue

    test(`[row 13] what ${writer} writes, ${reader} reads: values of every kind, and its tags`, async () => {
      const values = { text: 'é🚀', number: 1.5, zero: 0, none: null, no: false, list: [1, { a: [] }], nested: { a: { b: 'c' } } }
      for (const [name, value] of Object.entries(values)) {
        await fleet[from]!.ask('set', `${from}${to}-${name}`, value, { ttl: '1h' })
        expect(await fleet[to]!.ask('get', `${from}${to}-${name}`)).toEqual(value)
      }
    })

    for (const how of ['remove', 'set', 'expire', 'removeByTag'] as const) {
      test(`[row 13] ${how} by ${writer} reaches L1 of ${reader}`, async () => {
        const key = `${how}-${from}${to}`
        await fleet[to]!.ask('set', key, 'old', { ttl: '1h', tags: [`tag-${key}`] })
        expect(await fleet[from]!.ask('get', key)).toBe('old')
        expect(await fleet[to]!.ask('get', key)).toBe('old')
        await sleep(15) // a mark hits what was created in its own millisecond
        if (how === 'set') await fleet[from]!.ask('set', key, 'new')
        else await fleet[from]!.ask(how, how === 'removeByTag' ? `tag-${key}` : key)
        await sleep(150)
        expect(await fleet[to]!.ask('get', key)).toBe(how === 'set' ? 'new' : undefined)
        expect(await fleet[from]!.ask('get', key)).toBe(how === 'set' ? 'new' : undefined)
      })
    }

    test(`[row 13] clear by ${writer} reaches L1 of ${reader}`, async () => {
      await fleet[to]!.ask('set', `clear-${from}${to}`, 'old')
      await fleet[from]!.ask('clear')
      await sleep(150)
      expect(await fleet[to]!.ask('get', `clear-${from}${to}`)).toBeUndefined()
    })

    // 1.6.1 itself stores what it computed, whatever happened meanwhile: here it is only the other side.
    if (reader === '1.6.1') continue

    test(`[row 13] ${writer} invalidates while ${reader} computes: nothing old is left anywhere`, async () => {
      for (const how of ['remove', 'set'] as const) {
        const key = `flight-${how}-${from}${to}`
        await fleet[to]!.ask('depart', key, 'old', 150)
        await (how === 'set' ? fleet[from]!.ask('set', key, 'new') : fleet[from]!.ask('remove', key))
        expect(await fleet[to]!.ask('landing', key)).toBe('old') // it asked before
        await sleep(200)
        for (const one of fleet) expect(await one.ask('get', key)).toBe(how === 'set' ? 'new' : undefined)
      }
    })
  }
}

test('[row 13] what a delete of 1.6.1 could not revoke is deleted when its message arrives', async () => {
  const [old, , ours] = fleet
  for (let i = 0; i < 50; i++) {
    const key = `unrevoked-${i}`
    await ours!.ask('depart', key, 'old', 1)
    await old!.ask('remove', key)
    await ours!.ask('landing', key)
  }
  await sleep(300)
  for (let i = 0; i < 50; i++) {
    const stored = await redis.client().get(`bentocache:unrevoked-${i}`)
    const value = stored === null ? undefined : JSON.parse(stored).value
    // Stored only if it was computed before the delete began... and then the delete has removed it.
    expect(value).toBeUndefined()
  }
})
