import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { settle } from '../support/clock.js'
import { Fleet, SHAPES, Work, errorOf, unhandledDuring } from '../support/stores.js'
import type { Process, Shape } from '../support/stores.js'

/** A store whose `k` is stale, with grace left for hours. */
async function stale(shape: Shape, options: object = {}) {
  const fleet = new Fleet()
  const bento = fleet.process(shape, { ttl: 100, grace: '6h', ...options })
  await bento.set('k', 'old')
  await fleet.clock.advance(200)
  return { fleet, bento, clock: fleet.clock, work: new Work<string>() }
}

/** What a call was answered, and after how many ms. */
async function timed(fleet: Fleet, asking: Promise<unknown>): Promise<[unknown, number]> {
  const startedAt = fleet.clock.now()
  const answer = await fleet.clock.run(asking.catch((error) => error))
  return [answer, fleet.clock.now() - startedAt]
}

describe.each(SHAPES)('%s', (shape) => {
  test('[pin 3] a soft timeout answers with the stale value when it is over; the same flight serves who comes later', async () => {
    const { fleet, bento, clock, work } = await stale(shape, { timeout: 500 })
    const ask = (factory = work.factory) => bento.getOrSet('k', factory)
    expect(await timed(fleet, ask())).toEqual(['old', 500])
    expect(work.runs).toBe(1)
    await clock.advance(100)
    const later = ask()
    await clock.advance(100)
    work.give('new')
    expect(await later).toBe('new')
    expect(work.runs).toBe(1)
    expect(await ask()).toBe('new')
    expect(work.runs).toBe(1)
    if (shape !== 'L1') expect(fleet.stored('k')).toMatchObject({ value: 'new' })
    if (shape !== 'L2') {
      fleet.l2.kept.clear()
      expect(await bento.get('k')).toBe('new') // it is in L1 too
    }
  })

  test('[pin 3] a failure after the soft timeout is no unhandled rejection, and frees the key', async () => {
    const { fleet, bento, clock, work } = await stale(shape, { timeout: 500, graceBackoff: 0 })
    const unhandled = await unhandledDuring(async () => {
      expect(await timed(fleet, bento.getOrSet('k', work.factory))).toEqual(['old', 500])
      work.fail(new Error('late'))
      await settle()
    })
    expect(unhandled).toEqual([])
    const next = bento.getOrSet('k', work.factory)
    await settle()
    expect(work.runs).toBe(2)
    work.give('new')
    expect(await clock.run(next)).toBe('new')
  })

  test('[pin 4] a hard timeout rejects where there is nothing stale, though grace is on; the result is stored afterwards', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { grace: '6h' })
    const work = new Work<string>()
    const [error, ms] = await timed(fleet, bento.getOrSet({ key: 'k', factory: work.factory, hardTimeout: 500 }))
    expect(error).toBeInstanceOf(errors.E_FACTORY_HARD_TIMEOUT)
    expect(error).toMatchObject({ code: 'E_FACTORY_HARD_TIMEOUT', key: 'k', message: 'Factory has timed out after waiting for hard timeout' })
    expect(ms).toBe(500)
    await fleet.clock.advance(5_000)
    work.give('late')
    await settle()
    expect(await bento.get('k')).toBe('late')
    expect(work.runs).toBe(1)
  })

  test.each([undefined, 1, 60_000])('[pin 5] timeout: 0 answers stale at once while a refresh runs, whatever lockTimeout: %s', async (lockTimeout) => {
    const { fleet, bento, work } = await stale(shape, { timeout: 0 })
    const ask = () => bento.getOrSet({ key: 'k', factory: work.factory, ...(lockTimeout !== undefined && { lockTimeout }) })
    for (let i = 0; i < 20; i++) expect(await timed(fleet, ask())).toEqual(['old', 0])
    await settle()
    expect(work.runs).toBe(1)
    work.give('new')
    await settle()
    expect(await timed(fleet, ask())).toEqual(['new', 0])
    expect(work.runs).toBe(1)
  })

  test('[pin 7] a forced factory that fails rejects, grace or not, and leaves the old entry intact', async () => {
    for (const state of ['fresh', 'stale'] as const) {
      const { fleet, bento, clock } = await stale(shape)
      if (state === 'fresh') await bento.set('k', 'old', { ttl: '1h' })
      const before = fleet.l2.kept.get('bentocache:k')
      const error = await clock.run(errorOf(bento.getOrSet({ key: 'k', factory: () => Promise.reject(new Error('down')), forceFresh: true })))
      expect(error).toBeInstanceOf(errors.E_FACTORY_ERROR)
      expect(error.cause.message).toBe('down')
      expect(await bento.get('k')).toBe('old')
      expect(await bento.get({ key: 'k', grace: false })).toBe(state === 'fresh' ? 'old' : undefined)
      expect(fleet.l2.kept.get('bentocache:k')).toEqual(before)
    }
  })

  test('[pin 7] a forced factory knows no stale entry', async () => {
    const { bento, clock } = await stale(shape)
    const seen: unknown[] = []
    expect(await clock.run(bento.getOrSet({ key: 'k', factory: (ctx) => (seen.push(ctx.gracedEntry), 'new'), forceFresh: true }))).toBe('new')
    expect(seen).toEqual([undefined])
    expect(await bento.get('k')).toBe('new')
  })
})

test('[pin 6] with both tiers stale, L2\'s value is served, by every verb that serves stale', async () => {
  const READS: Record<string, (a: Process) => Promise<unknown>> = {
    'get': (a) => a.get('k'),
    'getOrSet, at once': (a) => a.getOrSet('k', () => 'new'),
    'getOrSet, after a soft timeout': (a) => a.getOrSet({ key: 'k', factory: () => new Promise(() => {}), timeout: 50 }),
    'getOrSet, after a failure': (a) => a.getOrSet({ key: 'k', factory: () => Promise.reject(new Error('down')), timeout: null }),
    'getOrSet, after a hard timeout': (a) => a.getOrSet({ key: 'k', factory: () => new Promise(() => {}), timeout: null, hardTimeout: 50 }),
  }
  for (const [name, read] of Object.entries(READS)) {
    const fleet = new Fleet()
    const options = { ttl: 100, grace: '6h' }
    const a = fleet.process('L1+L2', options)
    await a.set('k', 'of l1')
    await fleet.process('L2', options).set('k', 'of l2')
    await fleet.clock.advance(200)
    expect([name, await fleet.clock.run(read(a))]).toEqual([name, 'of l2'])
  }
})

describe('a fresh value of L2', () => {
  const BOUNDS = [{ timeout: 0 }, { timeout: 5_000 }, { timeout: null }, { timeout: 5_000, hardTimeout: 9_000, lockTimeout: 8_000 }] as const

  test.each(BOUNDS)('is served at once and as fresh, though grace is on, with %j', async (bounds) => {
    for (const shape of ['L2', 'L1+L2'] as const) {
      const fleet = new Fleet()
      await fleet.process(shape).set('k', 'v', { ttl: '1h' })
      const bento = fleet.process(shape, { ttl: '1h', grace: '6h', ...bounds })
      const hits: unknown[] = []
      bento.on('cache:hit', ({ layer, graced }) => hits.push([layer, graced]))
      const work = new Work()
      const asking = Promise.all([1, 2, 3].map(() => bento.getOrSet('k', work.factory)))
      expect(await timed(fleet, asking)).toEqual([['v', 'v', 'v'], 0])
      expect(work.runs).toBe(0)
      expect(hits).toEqual(Array(3).fill(['l2', false]))
      expect(fleet.clock.pending).toBe(0)
    }
  })
})
