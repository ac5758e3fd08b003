import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { hanging, slow } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, REMOTE_SHAPES, SHAPES, Work, errorOf } from '../support/stores.js'

const DAY = 86_400_000

/** When a promise settles, on the test's clock, and how. */
function timed(fleet: Fleet, promise: Promise<unknown>) {
  const from = fleet.clock.now()
  const end: { after?: number; value?: unknown; error?: any } = {}
  promise.then(
    (value) => Object.assign(end, { after: fleet.clock.now() - from, value }),
    (error) => Object.assign(end, { after: fleet.clock.now() - from, error })
  )
  return end
}

/** A store whose key `k` holds a stale `old`. */
async function withStale(shape: (typeof SHAPES)[number], options: object = {}) {
  const fleet = new Fleet()
  const bento = fleet.process(shape, { ttl: '1m', grace: '1h', ...options })
  await bento.set('k', 'old')
  await fleet.clock.advance(60_000)
  return { fleet, bento, work: new Work() }
}

describe.each(SHAPES)('on %s, a soft timeout', (shape) => {
  test('answers with the stale value when it is over, and the result is stored behind it', async () => {
    const { fleet, bento, work } = await withStale(shape, { timeout: 200 })
    const end = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(199)
    expect(end).toEqual({})
    await fleet.clock.advance(1)
    expect(end).toEqual({ after: 200, value: 'old' })
    expect(work.runs).toBe(1)
    work.give('new')
    await settle()
    expect(await bento.get('k')).toBe('new')
  })

  test('lets later callers wait for the same run, each for as long as it said itself', async () => {
    const { fleet, bento, work } = await withStale(shape, { timeout: 200 })
    timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(150)
    const [same, shorter] = [timed(fleet, bento.getOrSet('k', work.factory)), timed(fleet, bento.getOrSet('k', work.factory, { timeout: 20 }))]
    await fleet.clock.advance(100)
    expect(shorter).toEqual({ after: 20, value: 'old' })
    work.give('new')
    await settle()
    expect(same).toEqual({ after: 100, value: 'new' })
    expect(work.runs).toBe(1)
  })

  test('is no matter to a run that ends within it', async () => {
    const { fleet, bento, work } = await withStale(shape, { timeout: 200 })
    const end = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(50)
    work.give('new')
    await settle()
    expect(end).toEqual({ after: 50, value: 'new' })
    expect(fleet.clock.pending).toBe(0)
  })

  test('of 0 answers at once, whatever the lock timeout, and refreshes behind it', async () => {
    const { fleet, bento, work } = await withStale(shape, { lockTimeout: 500 })
    const ends = [1, 2, 3].map(() => timed(fleet, bento.getOrSet('k', work.factory)))
    await settle()
    expect(ends).toEqual(ends.map(() => ({ after: 0, value: 'old' })))
    expect(work.runs).toBe(1)
  })

  test('never applies without a stale value: there is nothing else to answer', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { grace: '1h', timeout: 10 })
    const work = new Work()
    const end = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(1_000)
    expect(end).toEqual({})
    work.give('v')
    await settle()
    expect(end).toEqual({ after: 1_000, value: 'v' })
  })

  test('[N23] of null is none, at the top, in the store and in a call alike; undefined is the default 0', async () => {
    for (const [top, store, call] of [[null, undefined, undefined], [undefined, null, undefined], [undefined, undefined, null]] as const) {
      const { fleet, bento, work } = await withStale(shape, { timeout: top, store: { timeout: store } })
      const end = timed(fleet, bento.getOrSet({ key: 'k', factory: work.factory, timeout: call } as never))
      await fleet.clock.advance(5_000)
      expect(end).toEqual({})
      work.give('new')
      await settle()
      expect(end).toEqual({ after: 5_000, value: 'new' })
    }
    const { fleet, bento, work } = await withStale(shape, { timeout: undefined, store: { timeout: undefined } })
    const end = timed(fleet, bento.getOrSet({ key: 'k', factory: work.factory, timeout: undefined } as never))
    await settle()
    expect(end).toEqual({ after: 0, value: 'old' })
  })

  test('[N18] behind it, a failure is a background failure: nobody waited for it', async () => {
    const failures: errors[] = []
    const { fleet, bento, work } = await withStale(shape, { timeout: 100, onFactoryError: (error: any) => failures.push(error) })
    timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(100)
    work.fail(new Error('too late'))
    await settle()
    expect(failures).toEqual([expect.objectContaining({ code: 'E_FACTORY_ERROR', key: 'k', isBackgroundFactory: true })])
  })

  test('that somebody else still waits for is no background failure', async () => {
    const failures: errors[] = []
    const { fleet, bento, work } = await withStale(shape, { timeout: 100, onFactoryError: (error: any) => failures.push(error) })
    timed(fleet, bento.getOrSet('k', work.factory))
    const patient = timed(fleet, bento.getOrSet('k', work.factory, { timeout: null }))
    await fleet.clock.advance(100)
    work.fail(new Error('too late'))
    await settle()
    expect(failures).toEqual([expect.objectContaining({ isBackgroundFactory: false })])
    expect(patient).toEqual({ after: 100, value: 'old' })
  })
})

type errors = InstanceType<typeof errors.E_FACTORY_ERROR>

describe.each(SHAPES)('on %s, a hard timeout', (shape) => {
  test('rejects each caller after its own wait, and the late value is stored', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { hardTimeout: 100 })
    const work = new Work()
    const ends = []
    for (let n = 0; n < 30; n++) {
      ends.push(timed(fleet, bento.getOrSet('k', work.factory)))
      await fleet.clock.advance(10)
    }
    await fleet.clock.advance(100)
    expect(ends).toEqual(ends.map(() => ({ after: 100, error: expect.any(errors.E_FACTORY_HARD_TIMEOUT) })))
    expect(ends[0]!.error).toMatchObject({ code: 'E_FACTORY_HARD_TIMEOUT', key: 'k' })
    expect(work.runs).toBe(1)
    work.give('late')
    await settle()
    expect(await bento.getOrSet('k', work.factory)).toBe('late')
    expect(work.runs).toBe(1)
  })

  test('answers with the stale value where there is one', async () => {
    const { fleet, bento, work } = await withStale(shape, { timeout: null, hardTimeout: 300 })
    const end = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(300)
    expect(end).toEqual({ after: 300, value: 'old' })
  })

  test('rejects without a stale value even if grace is on', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { grace: '1h', hardTimeout: 100 })
    const error = errorOf(bento.getOrSet('k', new Work().factory))
    await fleet.clock.advance(100)
    expect(await error).toBeInstanceOf(errors.E_FACTORY_HARD_TIMEOUT)
  })

  test.each([0, null, undefined])('of %s is none', async (hardTimeout) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { hardTimeout } as never)
    const work = new Work()
    const end = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(600_000)
    expect(end).toEqual({})
    work.give('v')
    await settle()
    expect(end.value).toBe('v')
  })

  test('covers the whole call: a second try after a failure does not begin a new wait', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { hardTimeout: 100 })
    const work = new Work()
    const leader = errorOf(bento.getOrSet('k', work.factory))
    const follower = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(60)
    work.fail(new Error('no'))
    await settle()
    expect(await leader).toBeInstanceOf(errors.E_FACTORY_ERROR)
    expect(work.runs).toBe(2) // the follower leads once
    await fleet.clock.advance(40)
    expect(follower).toEqual({ after: 100, error: expect.any(errors.E_FACTORY_HARD_TIMEOUT) })
  })
})

describe.each(SHAPES)('on %s, a lock timeout', (shape) => {
  test('[42] ends a follower\'s wait with a typed error that says what 1.6.1 said', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { lockTimeout: 50 })
    const work = new Work()
    const leader = timed(fleet, bento.getOrSet('k', work.factory))
    const follower = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(50)
    expect(follower).toEqual({ after: 50, error: expect.any(errors.E_LOCK_TIMEOUT) })
    expect(follower.error).toMatchObject({
      code: 'E_LOCK_TIMEOUT',
      key: 'k',
      message: 'timeout while waiting for mutex to become available',
    })
    await fleet.clock.advance(1_000)
    expect(leader).toEqual({}) // it binds followers alone
    work.give('v')
    await settle()
    expect(leader).toEqual({ after: 1_050, value: 'v' })
    expect(work.runs).toBe(1)
  })

  test('answers with the stale value where there is one, sooner than the soft timeout', async () => {
    const { fleet, bento, work } = await withStale(shape, { timeout: 200, lockTimeout: 50 })
    const [leader, follower] = [timed(fleet, bento.getOrSet('k', work.factory)), timed(fleet, bento.getOrSet('k', work.factory))]
    await fleet.clock.advance(200)
    expect(follower).toEqual({ after: 50, value: 'old' })
    expect(leader).toEqual({ after: 200, value: 'old' })
  })

  test.each([0, null])('of %s is none', async (lockTimeout) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { lockTimeout })
    const work = new Work()
    const ends = [timed(fleet, bento.getOrSet('k', work.factory)), timed(fleet, bento.getOrSet('k', work.factory))]
    await fleet.clock.advance(60_000)
    expect(ends).toEqual([{}, {}])
    work.give('v')
    await settle()
    expect(ends.map(({ value }) => value)).toEqual(['v', 'v'])
  })
})

describe('a stale value that only L2 has', () => {
  test.each([
    [{ timeout: 0 }, 0],
    [{ timeout: 100 }, 100],
  ])('[N8] reaches all callers within their timeout, not the first alone: %j', async (options, ms) => {
    const fleet = new Fleet()
    const writer = fleet.process('L1+L2', { ttl: '1m', grace: '1h' })
    await writer.set('k', 'old')
    await fleet.clock.advance(60_000)
    const reader = fleet.process('L1+L2', { ttl: '1m', grace: '1h', ...options })
    fleet.l2.ail(slow(fleet.clock, 5), 'get')
    const work = new Work()
    const ends = [1, 2, 3].map(() => timed(fleet, reader.getOrSet('k', work.factory)))
    await fleet.clock.advance(500)
    expect(ends).toEqual(ends.map(() => ({ after: Math.max(5, ms), value: 'old' })))
    expect(work.runs).toBe(1)
    expect(fleet.l2.calls.get).toBe(1)
  })
})

describe('a slow L2', () => {
  test('[23] that is frozen does not hold a stale value of L1 back: it is served within 100 ms', async () => {
    const { fleet, bento, work } = await withStale('L1+L2')
    const frozen = hanging()
    fleet.l2.ail(frozen)
    const end = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(99)
    expect(end).toEqual({})
    await fleet.clock.advance(1)
    expect(end).toEqual({ after: 100, value: 'old' })
    await fleet.clock.advance(2_900)
    fleet.l2.heal()
    frozen.release()
    await fleet.clock.advance(1_000)
    work.give('new')
    await fleet.clock.advance(1_000)
    expect(await bento.get('k')).toBe('new')
  })

  test('[23 K] that is healthy is asked: its stale value is younger news than L1\'s', async () => {
    const { fleet, bento, work } = await withStale('L1+L2')
    const other = fleet.process('L1+L2', { ttl: 1, grace: '1h' })
    await other.set('k', 'younger') // no bus: ours has not heard of it
    await fleet.clock.advance(1)
    fleet.l2.ail(slow(fleet.clock, 20), 'get')
    const end = timed(fleet, bento.getOrSet('k', work.factory))
    await fleet.clock.advance(20)
    expect(end).toEqual({ after: 20, value: 'younger' })
  })

  test.each(REMOTE_SHAPES)('on %s is waited for as long as l2Timeout says, and its late reply harms nobody', async (shape) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { l2Timeout: 250, suppressL2Errors: true })
    fleet.l2.ail(slow(fleet.clock, 5_000), 'get')
    const end = timed(fleet, bento.getOrSet('k', () => 'v'))
    await fleet.clock.advance(250)
    expect(end).toEqual({ after: 250, value: 'v' })
    fleet.l2.heal()
    await fleet.clock.advance(10_000)
    expect(fleet.clock.pending).toBe(0) // nothing asks any more whether L2 is back
  })
})

describe.each(['timeout', 'hardTimeout', 'lockTimeout', 'l2Timeout', 'lockAge'])('[R1] a %s above 24.8 days', (option) => {
  test('is simply long: nothing fires early', async () => {
    const fleet = new Fleet()
    const overflowing = fleet.clock.setTimeout.bind(fleet.clock)
    fleet.clock.setTimeout = (callback, delay) => overflowing(callback, delay > 2 ** 31 - 1 ? 1 : delay)
    const bento = fleet.process('L1+L2', { ttl: '1m', grace: '60d', timeout: null, [option]: '30 days' })
    await bento.set('k', 'old')
    await fleet.clock.advance(60_000)
    if (option === 'l2Timeout') fleet.l2.ail(slow(fleet.clock, 20 * DAY), 'get')
    const work = new Work()
    const ends = [timed(fleet, bento.getOrSet('k', work.factory)), timed(fleet, bento.getOrSet('k', work.factory))]
    await fleet.clock.advance(29 * DAY)
    expect(ends).toEqual([{}, {}])
    expect(work.runs).toBe(1)
    if (option === 'timeout' || option === 'hardTimeout') {
      await fleet.clock.advance(DAY)
      expect(ends).toEqual(ends.map(() => ({ after: 30 * DAY, value: 'old' })))
    }
    work.give('new')
    await fleet.clock.advance(0)
    expect(ends.every(({ value }) => value !== undefined)).toBe(true)
  })
})
