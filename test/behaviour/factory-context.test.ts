import { describe, expect, test } from 'vitest'
import { settle } from '../support/clock.js'
import { Fleet, SHAPES, Work } from '../support/stores.js'

describe.each(SHAPES)('on %s, what a factory decides', (shape) => {
  const setup = (options: object = {}) => {
    const fleet = new Fleet()
    return { fleet, bento: fleet.process(shape, options) }
  }

  test('[44] [A6] leaves the caller\'s array of tags as it was', async () => {
    const { bento } = setup()
    const tags = Object.freeze(['a']) as string[]
    const options = Object.freeze({ tags, ttl: '1h' })
    await bento.getOrSet('k', (ctx) => (ctx.setTags(['b']), ctx.setOptions({ tags: ['c'], ttl: 5 }), 'v'), options)
    expect(tags).toEqual(['a'])
  })

  test('[44] adds its tags to those of the call, by setTags and setOptions alike', async () => {
    for (const tag of ['call', 'set', 'options']) {
      const { bento } = setup()
      await bento.getOrSet('k', (ctx) => (ctx.setTags(['set']), ctx.setOptions({ tags: ['options'] }), 'v'), { tags: ['call'] })
      expect(await bento.get('k')).toBe('v')
      await bento.deleteByTag([tag])
      expect(await bento.get('k'), tag).toBeUndefined()
    }
  })

  test.each([
    ['null: for ever', null, true, true],
    ["'2h': longer than the call's", '2h', true, false],
    ["'1s': shorter", '1s', false, false],
    ['0: not kept', 0, false, false],
    ["'0s': not kept", '0s', false, false],
  ])('[44] is the ttl, %s', async (_, ttl, isThereSoon, isThereLater) => {
    for (const set of [(ctx: any) => ctx.setTtl(ttl), (ctx: any) => ctx.setOptions({ ttl })]) {
      const { fleet, bento } = setup({ ttl: '1m' })
      expect(await bento.getOrSet('k', (ctx) => (set(ctx), 'v'))).toBe('v')
      await fleet.clock.advance(60_000)
      expect(await bento.has('k')).toBe(isThereSoon)
      await fleet.clock.advance(7_200_000)
      expect(await bento.has('k')).toBe(isThereLater)
    }
  })

  test('[44] a ttl of 0 takes away what it replaces', async () => {
    const { fleet, bento } = setup({ ttl: '1m', grace: false })
    await bento.set('k', 'old', { grace: '1h' })
    await fleet.clock.advance(60_000)
    expect(await bento.getOrSet('k', (ctx) => (ctx.setTtl(0), 'v'))).toBe('v')
    expect(await bento.get('k', undefined, { grace: '1h' })).toBeUndefined()
    expect(fleet.stored('k')).toBeUndefined()
  })

  test('counts up to the moment the value is stored, after a timeout too', async () => {
    const { fleet, bento } = setup({ ttl: '1m', hardTimeout: 10 })
    const work = new Work()
    const late = bento.getOrSet('k', work.factory).catch((error) => error.code)
    await fleet.clock.advance(10)
    expect(await late).toBe('E_FACTORY_HARD_TIMEOUT')
    work.contexts[0]!.setOptions({ ttl: '1h', tags: ['late'] })
    work.give('v')
    await settle()
    await fleet.clock.advance(120_000)
    expect(await bento.get('k')).toBe('v')
    await bento.deleteByTag(['late'])
    expect(await bento.get('k')).toBeUndefined()
  })

  test('can lengthen the grace of what it stores', async () => {
    const { fleet, bento } = setup({ ttl: '1m' })
    await bento.getOrSet('k', (ctx) => (ctx.setOptions({ grace: '1h' }), 'v'))
    await fleet.clock.advance(59 * 60_000)
    expect(await bento.get('k', undefined, { grace: '1h' })).toBe('v')
  })
})

describe('whom a factory tells', () => {
  test.each([
    ['as the call says', { skipL2Write: true, skipBusNotify: true }, {}, [false, false]],
    ['[44] as the call says, where it leaves an option out', { skipL2Write: true, skipBusNotify: true }, { ttl: '1h' }, [false, false]],
    ['nobody, if it says so', {}, { skipL2Write: true, skipBusNotify: true }, [false, false]],
    ['L2 alone', {}, { skipBusNotify: true }, [true, false]],
    ['everybody, against the call', { skipL2Write: true, skipBusNotify: true }, { skipL2Write: false, skipBusNotify: false }, [true, true]],
    ['everybody, by default', {}, {}, [true, true]],
  ])('%s', async (_, call, options, [isInL2, isOnBus]) => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2+bus')
    await bento.getOrSet('k', (ctx) => (ctx.setOptions(options), 'v'), call)
    expect(fleet.stored('k') !== undefined).toBe(isInL2)
    expect(fleet.bus.sent.length).toBe(isOnBus ? 1 : 0)
    expect(await bento.get('k')).toBe('v')
  })
})
