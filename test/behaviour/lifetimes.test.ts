import { describe, expect, test } from 'vitest'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { BentoCache, bentostore } from '../../src/index.js'
import { Fleet, REMOTE_SHAPES, SHAPES } from '../support/stores.js'

const SECOND = 1_000
const MINUTE = 60_000
const HOUR = 3_600_000
const DAY = 24 * HOUR

/** L2 by which a `ChaosL2` engine also tells how long it keeps a key, as Redis does. */
function tellingTtl(fleet: Fleet) {
  const { factory } = fleet.l2.driver()
  return {
    options: {},
    factory: (config: any) =>
      Object.assign(factory(config), {
        remainingTtl: async (key: string) => (fleet.l2.kept.get(`bentocache:${key}`)?.deadAt ?? fleet.clock.now()) - fleet.clock.now(),
      }),
  }
}

describe.each(SHAPES)('on %s', (shape) => {
  test('[N3] a grace shorter than the ttl takes nothing from it', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '2h', grace: '10m' })
    await bento.set('k', 'v')
    await fleet.clock.advance(2 * HOUR - 1)
    expect(await bento.get('k')).toBe('v')
    await fleet.clock.advance(1)
    expect(await bento.get('k')).toBeUndefined()
  })

  test('[N3] for ever is for ever, with grace too', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { grace: '10m' })
    await bento.setForever('a', 'v')
    await bento.getOrSetForever('b', () => 'v')
    await bento.set('c', 'v', { ttl: null })
    await fleet.clock.advance(1_000 * DAY)
    for (const key of ['a', 'b', 'c']) expect(await bento.get(key, undefined, { grace: false }), key).toBe('v')
  })

  test('[N5] an explicit undefined is an absent option: 30 min stay 30 min, an hour stays an hour', async () => {
    for (const [options, ms] of [[{}, 30 * MINUTE], [{ ttl: '1h' }, HOUR], [{ ttl: undefined }, 30 * MINUTE]] as const) {
      const fleet = new Fleet()
      const bento = fleet.process(shape, options as never)
      await bento.set({ key: 'a', value: 'v', ttl: undefined } as never)
      await bento.getOrSet({ key: 'b', factory: () => 'v', ttl: undefined, grace: undefined } as never)
      await fleet.clock.advance(ms - 1)
      expect([await bento.get('a'), await bento.get('b')]).toEqual(['v', 'v'])
      await fleet.clock.advance(1)
      expect([await bento.get('a'), await bento.get('b')]).toEqual([undefined, undefined])
    }
  })

  test('a value is fresh up to its ttl and not in the millisecond after', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('k', 'v', { ttl: '10s' })
    await fleet.clock.advance(10 * SECOND - 1)
    expect(await bento.has('k')).toBe(true)
    await fleet.clock.advance(1)
    expect(await bento.has('k')).toBe(false)
  })
})

describe.each(REMOTE_SHAPES)('on %s, L2', (shape) => {
  test.each([
    ['30 min by default', {}, 30 * MINUTE, 30 * MINUTE],
    ['as long as grace says', { ttl: '10m', grace: '30m' }, 10 * MINUTE, 30 * MINUTE],
    ['12 h with 12 h of grace', { ttl: '12h', grace: '12h' }, 12 * HOUR, 12 * HOUR],
    ['24 h with 24 h of grace', { ttl: '12h', grace: '24h' }, 12 * HOUR, 24 * HOUR],
    ['[N3] as long as the ttl says when grace is shorter', { ttl: '2h', grace: '10m' }, 2 * HOUR, 2 * HOUR],
    ['for ever', { ttl: null }, Infinity, Infinity],
    ['[N3] for ever, with grace too', { ttl: null, grace: '30m' }, Infinity, Infinity],
  ])('keeps an entry %s', async (_, options, freshFor, keptFor) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const now = fleet.clock.now()
    await bento.set('a', 'v', options)
    await bento.getOrSet('b', () => 'v', options)
    for (const key of ['a', 'b']) {
      const freshUntil = freshFor === Infinity ? 9_999_999_999_999 : now + freshFor
      expect(fleet.stored(key), key).toMatchObject({ value: 'v', createdAt: now, logicalExpiration: freshUntil, ttl: keptFor })
    }
  })

  test('[28] keeps an entry no shorter because it was expired; for ever stays for ever', async () => {
    const fleet = new Fleet()
    const store = bentostore({ ttl: '10m', grace: '6h' }).useL2Layer(tellingTtl(fleet))
    const bento = new BentoCache({ clock: fleet.clock, default: 'main', stores: { main: shape === 'L2' ? store : store.useL1Layer(memoryDriver()) } })
    await bento.set('k', 'v')
    await bento.setForever('ever', 'v')
    await fleet.clock.advance(MINUTE)
    await bento.expire('k')
    await bento.expire('ever')
    expect(fleet.stored('k')).toMatchObject({ value: 'v', ttl: 6 * HOUR - MINUTE, logicalExpiration: fleet.clock.now() - 100 })
    expect(fleet.stored('ever')).toMatchObject({ value: 'v', ttl: Infinity })
    await fleet.clock.advance(6 * HOUR - MINUTE - 1)
    expect(await bento.get('k')).toBe('v')
    await fleet.clock.advance(1)
    expect(await bento.get('k')).toBeUndefined()
    await fleet.clock.advance(100 * DAY)
    expect(await bento.get('ever')).toBe('v')
  })

  test('[28] of an engine that cannot tell its ttl keeps an expired entry for the store\'s grace', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '10m', grace: '6h' })
    await bento.set('k', 'v')
    await fleet.clock.advance(MINUTE)
    await bento.expire('k')
    expect(fleet.stored('k')).toMatchObject({ value: 'v', ttl: 6 * HOUR - MINUTE })
  })

  test('[28] is not written to by who finds an entry invalidated by its tag', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '10m', grace: '6h' })
    await bento.set('k', 'v', { tags: ['t'] })
    await bento.setForever('ever', 'v', { tags: ['t'] })
    await fleet.clock.advance(MINUTE)
    await bento.deleteByTag(['t'])
    fleet.l2.resetCalls()
    for (let n = 0; n < 5; n++) expect([await bento.get('k'), await bento.get('ever')]).toEqual([undefined, undefined])
    expect(fleet.l2.calls).toMatchObject({ set: 0, delete: 0, deleteMany: 0 })
    expect(fleet.stored('k')!.ttl).toBe(6 * HOUR - MINUTE)
    expect(fleet.stored('ever')!.ttl).toBe(Infinity)
  })

  test('gives an expired entry to who asks with grace, for as long as that grace counts from the write', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h' })
    await bento.set('k', 'v')
    await fleet.clock.advance(MINUTE)
    await bento.expire('k')
    expect(await bento.get('k')).toBeUndefined()
    expect(await bento.get('k', undefined, { grace: '1h' })).toBe('v')
    await fleet.clock.advance(59 * MINUTE)
    expect(await bento.get('k', undefined, { grace: '1h' })).toBeUndefined()
  })
})

describe('a copy that came from L2', () => {
  test('[N6] lives in L1 for what the entry has left, not for a whole ttl', async () => {
    const fleet = new Fleet()
    const [writer, reader] = [fleet.process('L1+L2'), fleet.process('L1+L2', { ttl: '30m' })]
    await writer.set('a', 'v', { ttl: '10s' })
    await writer.set('b', 'v', { ttl: '10s' })
    await fleet.clock.advance(9 * SECOND)
    expect(await reader.get('a')).toBe('v')
    expect(await reader.getOrSet('b', () => 'never')).toBe('v')
    await fleet.clock.advance(SECOND)
    expect(await reader.get('a')).toBeUndefined()
    expect(await reader.getOrSet('b', () => 'new')).toBe('new')
  })

  test('[N6] lives in L1 no longer than its grace, though it was promoted when stale', async () => {
    const fleet = new Fleet()
    const options = { ttl: '10s', grace: '60s' }
    const [writer, reader] = [fleet.process('L1+L2', options), fleet.process('L1+L2', options)]
    await writer.set('k', 'v')
    await fleet.clock.advance(50 * SECOND)
    expect(await reader.get('k')).toBe('v')
    fleet.l2.kept.clear()
    await fleet.clock.advance(10 * SECOND - 1)
    expect(await reader.get('k')).toBe('v')
    await fleet.clock.advance(1)
    expect(await reader.get('k')).toBeUndefined()
  })

  test('keeps the time at which its entry was made', async () => {
    const fleet = new Fleet()
    const [writer, reader] = [fleet.process('L1+L2'), fleet.process('L1+L2')]
    const now = fleet.clock.now()
    await writer.set('k', 'v', { tags: ['t'] })
    await fleet.clock.advance(MINUTE)
    expect(await reader.get('k')).toBe('v')
    expect(fleet.stored('k')!.createdAt).toBe(now)
    await reader.deleteByTag(['t'])
    expect(await reader.get('k')).toBeUndefined()
  })
})

describe('[R15] memory whose maxTtl is shorter than what L2 keeps', () => {
  const setup = () => {
    const fleet = new Fleet()
    return { fleet, bento: fleet.process('L1+L2', { ttl: '1h', grace: '6h', memory: { maxTtl: '5s' } }) }
  }

  test('asks L2 again after that, for what was set, computed and promoted alike', async () => {
    const { fleet, bento } = setup()
    await fleet.process('L2').set('promoted', 'v', { ttl: '1h' })
    await bento.set('set', 'v')
    await bento.getOrSet('computed', () => 'v')
    await bento.get('promoted')
    const readAll = () => Promise.all(['set', 'computed', 'promoted'].map((key) => bento.get(key)))
    fleet.l2.resetCalls()
    await fleet.clock.advance(5 * SECOND - 1)
    expect(await readAll()).toEqual(['v', 'v', 'v'])
    expect(fleet.l2.calls.get).toBe(0)
    await fleet.clock.advance(1)
    expect(await readAll()).toEqual(['v', 'v', 'v'])
    expect(fleet.l2.calls.get).toBe(3)
    expect(fleet.stored('set')!.ttl).toBe(6 * HOUR - 5 * SECOND)
  })

  test('bounds the hits of getOrSet too', async () => {
    const { fleet, bento } = setup()
    await bento.getOrSet('k', () => 'v')
    await fleet.clock.advance(5 * SECOND)
    fleet.l2.resetCalls()
    expect(await bento.getOrSet('k', () => 'never')).toBe('v')
    expect(fleet.l2.calls.get).toBe(1)
  })

  test('bounds what an L1 alone keeps', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1', { ttl: null, memory: { maxTtl: 5_000 } })
    await bento.set('k', 'v')
    await fleet.clock.advance(4_999)
    expect(await bento.get('k')).toBe('v')
    await fleet.clock.advance(1)
    expect(await bento.get('k')).toBeUndefined()
  })
})
