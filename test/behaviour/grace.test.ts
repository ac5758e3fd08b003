import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { settle } from '../support/clock.js'
import { Fleet, REMOTE_SHAPES, SHAPES, Work, errorOf } from '../support/stores.js'

const MINUTE = 60_000
const HOUR = 3_600_000

/** A store whose key `k` holds a stale `old`, written a minute ago. */
async function withStale(shape: (typeof SHAPES)[number], options: object = {}) {
  const fleet = new Fleet()
  const bento = fleet.process(shape, { ttl: '1m', grace: '1h', ...options })
  await bento.set('k', 'old')
  await fleet.clock.advance(MINUTE)
  return { fleet, bento, work: new Work() }
}

const failing = (message = 'the database is away') => {
  const factory = () => {
    factory.runs++
    return Promise.reject(new Error(message))
  }
  factory.runs = 0
  return factory
}

describe.each(SHAPES)('on %s, grace', (shape) => {
  test('serves the stale value when the factory fails, and not beyond its own end', async () => {
    const { fleet, bento } = await withStale(shape, { timeout: null, graceBackoff: 0 })
    await fleet.clock.advance(HOUR - MINUTE - 1)
    expect(await bento.getOrSet('k', failing())).toBe('old')
    await fleet.clock.advance(1)
    expect(await errorOf(bento.getOrSet('k', failing()))).toBeInstanceOf(errors.E_FACTORY_ERROR)
  })

  test('is the reader\'s: who does not ask for a stale value gets none', async () => {
    const { bento } = await withStale(shape, { timeout: null })
    expect(await bento.get('k')).toBe('old')
    expect(await bento.get('k', undefined, { grace: false })).toBeUndefined()
    expect(await bento.has('k')).toBe(false)
    expect(await errorOf(bento.getOrSet('k', failing(), { grace: false }))).toMatchObject({ code: 'E_FACTORY_ERROR' })
  })

  test('of a forced call is none: its failure is its own, and the old value stays as it was', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1m', grace: '1h' })
    await bento.set('k', 'old')
    expect(await errorOf(bento.getOrSet('k', failing(), { forceFresh: true }))).toMatchObject({ code: 'E_FACTORY_ERROR' })
    expect(await bento.get('k', undefined, { grace: false })).toBe('old')
  })

  test('does not serve what was skipped: a skip is an answer', async () => {
    const { bento } = await withStale(shape, { timeout: null })
    expect(await bento.getOrSet('k', (ctx) => ctx.skip())).toBeUndefined()
    expect(await bento.get('k')).toBe('old')
  })

  test.each([null, 0, '', false])('serves a stale %j, which is a value like any other', async (value) => {
    const { fleet, bento } = await withStale(shape, { timeout: null })
    await bento.set('k', value)
    await fleet.clock.advance(MINUTE)
    expect(await bento.getOrSet('k', failing())).toBe(value)
    expect(await bento.get('k')).toBe(value)
  })

  test('[R2] ends when it said at the write, however many refreshes failed in the foreground', async () => {
    const { fleet, bento } = await withStale(shape, { timeout: null, graceBackoff: '10s' })
    const factory = failing()
    for (let at = MINUTE; at < HOUR; at += 10_000) {
      expect(await bento.getOrSet('k', factory)).toBe('old')
      await fleet.clock.advance(10_000)
    }
    expect(factory.runs).toBe((HOUR - MINUTE) / 10_000)
    expect(await errorOf(bento.getOrSet('k', factory))).toBeInstanceOf(errors.E_FACTORY_ERROR)
    expect(await bento.get('k')).toBeUndefined()
  })

  test('[R2] ends within a back-off too: a back-off lengthens no life', async () => {
    const { fleet, bento } = await withStale(shape, { timeout: null, graceBackoff: '6h' })
    expect(await bento.getOrSet('k', failing())).toBe('old')
    await fleet.clock.advance(HOUR - MINUTE)
    expect(await bento.getOrSet('k', () => 'new')).toBe('new')
  })
})

describe.each(SHAPES)('on %s, a back-off', (shape) => {
  test.each([
    ['in the background', { timeout: 0 }],
    ['after a soft timeout', { timeout: 5 }],
    ['after a hard timeout', { timeout: null, hardTimeout: 5 }],
    ['in the foreground', { timeout: null }],
  ])('[26] counts from the failure, %s: no run before it is over', async (_, options) => {
    const { fleet, bento } = await withStale(shape, { graceBackoff: 200, ...options })
    let runs = 0
    const factory = async () => {
      runs++
      await fleet.clock.sleep(10)
      throw new Error('no')
    }
    const read = () => fleet.clock.run(bento.getOrSet('k', factory))
    expect(await read()).toBe('old')
    await fleet.clock.advance(10) // it has failed
    for (let n = 0; n < 10; n++) {
      expect(await read()).toBe('old')
      await fleet.clock.advance(10)
    }
    expect(runs).toBe(1)
    await fleet.clock.advance(100)
    expect(await read()).toBe('old')
    expect(runs).toBe(2)
  })

  test('ends with a write', async () => {
    const { bento } = await withStale(shape, { timeout: null, graceBackoff: '1h' })
    expect(await bento.getOrSet('k', failing())).toBe('old')
    await bento.set('k', 'new')
    expect(await bento.getOrSet('k', failing())).toBe('new')
  })

  test('ends with an invalidation', async () => {
    const { bento } = await withStale(shape, { timeout: null, graceBackoff: '1h' })
    expect(await bento.getOrSet('k', failing())).toBe('old')
    await bento.expire('k')
    const factory = failing()
    expect(await bento.getOrSet('k', factory)).toBe('old')
    expect(factory.runs).toBe(1)
    await bento.delete('k')
    expect(await bento.getOrSet('k', () => 'new')).toBe('new')
  })

  test('of 0 is none', async () => {
    const { bento } = await withStale(shape, { timeout: null, graceBackoff: 0 })
    const factory = failing()
    for (let n = 0; n < 3; n++) expect(await bento.getOrSet('k', factory)).toBe('old')
    expect(factory.runs).toBe(3)
  })

  test('lets the stale value count as fresh, for callers without grace too', async () => {
    const { bento } = await withStale(shape, { timeout: null, graceBackoff: '30m' })
    expect(await bento.getOrSet('k', failing())).toBe('old')
    const factory = failing()
    expect(await bento.getOrSet('k', factory, { grace: false })).toBe('old')
    expect(factory.runs).toBe(0)
  })

  test('[R16] is as long as the failing factory has set it', async () => {
    const { fleet, bento } = await withStale(shape, { timeout: null, graceBackoff: '1s' })
    let runs = 0
    const factory = (ctx: any) => {
      runs++
      ctx.setOptions({ graceBackoff: '20s' })
      throw new Error('rate limited, come back in 20 s')
    }
    expect(await bento.getOrSet('k', factory)).toBe('old')
    await fleet.clock.advance(19_999)
    expect(await bento.getOrSet('k', factory)).toBe('old')
    expect(runs).toBe(1)
    await fleet.clock.advance(1)
    expect(await bento.getOrSet('k', factory)).toBe('old')
    expect(runs).toBe(2)
  })

  test('of a refresh that was answered by a stale value has no second chance: ten callers cost one run', async () => {
    const { fleet, bento } = await withStale(shape, { timeout: null })
    const factory = failing()
    const all = Array.from({ length: 10 }, () => bento.getOrSet('k', factory))
    expect(await fleet.clock.run(Promise.all(all))).toEqual(all.map(() => 'old'))
    expect(factory.runs).toBe(1)
  })
})

describe.each(REMOTE_SHAPES)('on %s, a failed refresh', (shape) => {
  test('[D-I] writes nothing to L2: a newer value of another process stays', async () => {
    const { fleet, bento, work } = await withStale(shape, { timeout: null })
    const other = fleet.process(shape, { ttl: '1m', grace: '1h' })
    fleet.l2.resetCalls()
    const read = bento.getOrSet('k', work.factory)
    await settle()
    await other.set('k', 'newer')
    work.fail(new Error('no'))
    expect(await read).toBe('old') // it asked before the write
    await fleet.clock.advance(1_000)
    expect(fleet.l2.calls.set).toBe(1)
    expect(fleet.stored('k')).toMatchObject({ value: 'newer' })
  })

  test('[D-H] does not bring back what was deleted meanwhile', async () => {
    const { fleet, bento, work } = await withStale(shape, { timeout: null })
    const read = bento.getOrSet('k', work.factory)
    await settle()
    await bento.delete('k')
    work.fail(new Error('no'))
    expect(await read).toBe('old')
    await fleet.clock.advance(1_000)
    expect(fleet.stored('k')).toBeUndefined()
    expect(await bento.get('k')).toBeUndefined()
  })

  test('[D-H] does not bring back what another process deleted meanwhile', async () => {
    const { fleet, bento, work } = await withStale(shape, { timeout: null })
    const read = bento.getOrSet('k', work.factory)
    await settle()
    await fleet.process('L2').delete('k')
    work.fail(new Error('no'))
    expect(await read).toBe('old')
    await fleet.clock.advance(1_000)
    expect(fleet.stored('k')).toBeUndefined()
  })
})

describe('the stale value that a factory sees', () => {
  test.each(SHAPES)('[45] [A5] is there when it refreshes in the background (%s)', async (shape) => {
    const { bento, work } = await withStale(shape, { timeout: 0 })
    expect(await bento.getOrSet('k', work.factory)).toBe('old')
    await settle()
    expect(work.contexts[0]!.gracedEntry).toEqual({ value: 'old' })
  })

  test.each(SHAPES)('is there in the foreground, even when this call has no grace (%s)', async (shape) => {
    const { bento, work } = await withStale(shape)
    const read = bento.getOrSet('k', work.factory, { grace: false })
    await settle()
    expect(work.contexts[0]!.gracedEntry).toEqual({ value: 'old' })
    work.give('new')
    expect(await read).toBe('new')
  })

  test.each(SHAPES)('is not there for a forced call, nor on a miss (%s)', async (shape) => {
    const { bento, work } = await withStale(shape)
    void bento.getOrSet('k', work.factory, { forceFresh: true })
    void bento.getOrSet('missing', work.factory)
    await settle()
    expect(work.contexts.map((ctx) => ctx.gracedEntry)).toEqual([undefined, undefined])
  })

  test('[N20] is the one that would be served in its stead: L2\'s, when both tiers have one', async () => {
    const { fleet, bento, work } = await withStale('L1+L2', { timeout: null })
    await fleet.process('L1+L2', { ttl: 1, grace: '1h' }).set('k', 'younger')
    await fleet.clock.advance(1)
    const read = bento.getOrSet('k', work.factory)
    await settle()
    expect(work.contexts[0]!.gracedEntry).toEqual({ value: 'younger' })
    work.fail(new Error('no'))
    expect(await read).toBe('younger')
  })

  test('is a copy: what a factory does to it changes nothing that is served', async () => {
    const { bento, fleet } = await withStale('L1', { timeout: null })
    await bento.set('k', { list: [1] })
    await fleet.clock.advance(MINUTE)
    const read = bento.getOrSet<any>('k', (ctx) => {
      ctx.gracedEntry!.value.list.push(2)
      throw new Error('no')
    })
    expect(await read).toEqual({ list: [1] })
  })
})

describe('both tiers stale', () => {
  test('means that L2\'s value is served, by get and getOrSet alike', async () => {
    const { fleet, bento, work } = await withStale('L1+L2')
    await fleet.process('L1+L2', { ttl: 1, grace: '1h' }).set('k', 'younger')
    await fleet.clock.advance(1)
    expect(await bento.getOrSet('k', work.factory)).toBe('younger')
    const { fleet: again, bento: getter } = await withStale('L1+L2')
    await again.process('L1+L2', { ttl: 1, grace: '1h' }).set('k', 'younger')
    await again.clock.advance(1)
    expect(await getter.get('k')).toBe('younger')
  })
})
