import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { slow, throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, REMOTE_SHAPES, errorOf } from '../support/stores.js'

const strict = { suppressL2Errors: false }

describe.each(REMOTE_SHAPES)('on %s, the circuit breaker', (shape) => {
  const setup = (options: object = {}) => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const bento = fleet.process(shape, { l2CircuitBreakerDuration: '30s', suppressL2Errors: true, logger, ...options })
    const { calls } = fleet.l2
    const asked = () => Object.values(calls).reduce((sum, n) => sum + n, 0)
    return { fleet, bento, logger, asked }
  }

  test('leaves a failing L2 alone for its duration, then asks once and goes on when that works', async () => {
    const { fleet, bento, asked } = setup()
    fleet.l2.ail(throwing())
    for (let n = 0; n < 3; n++) expect(await bento.get('k')).toBeUndefined()
    expect(asked()).toBe(1)
    await fleet.clock.advance(29_999)
    await bento.get('k')
    expect(asked()).toBe(1)
    await fleet.clock.advance(1)
    fleet.l2.heal()
    await bento.set('k', 'v')
    expect(asked()).toBe(2)
    expect(fleet.stored('k')).toMatchObject({ value: 'v' })
    await fleet.process('L2').set('other', 'w')
    expect(await bento.get('other')).toBe('w')
  })

  test('lets one operation try when its duration is over, and the others wait for what comes of it', async () => {
    const { fleet, bento, asked } = setup()
    fleet.l2.ail(throwing())
    await bento.get('k')
    await fleet.clock.advance(30_000)
    fleet.l2.heal()
    fleet.l2.ail(slow(fleet.clock, 100))
    const trial = bento.get('a')
    for (let n = 0; n < 20; n++) expect(await bento.get('b')).toBeUndefined()
    expect(asked()).toBe(2)
    await fleet.clock.advance(100)
    await trial
    const now = bento.get('b')
    await fleet.clock.advance(100)
    await now
    expect(asked()).toBe(3)
  })

  test('stays open for another duration when that one fails', async () => {
    const { fleet, bento, asked } = setup()
    fleet.l2.ail(throwing())
    await bento.get('k')
    await fleet.clock.advance(30_000)
    await bento.get('k')
    await fleet.clock.advance(29_999)
    await bento.get('k')
    expect(asked()).toBe(2)
    await fleet.clock.advance(1)
    await bento.get('k')
    expect(asked()).toBe(3)
  })

  test('[N12] is one for the store: what a namespace found out spares the root and its other namespaces', async () => {
    const { fleet, bento, asked } = setup()
    fleet.l2.ail(throwing())
    await bento.namespace('users').get('1')
    await bento.get('k')
    await bento.namespace('posts').namespace('deep').get('1')
    expect(asked()).toBe(1)
  })

  test('[N12] is no secret from callers who want to know: strict get, set and delete reject while it is open', async () => {
    const { fleet, bento, asked } = setup()
    fleet.l2.ail(throwing())
    await bento.get('k')
    const verbs = [
      bento.get({ key: 'k', ...strict }),
      bento.set({ key: 'k', value: 'v', ...strict }),
      bento.delete({ key: 'k', ...strict }),
      bento.deleteMany({ keys: ['k'], ...strict }),
      bento.has({ key: 'k', ...strict }),
      bento.expire({ key: 'k', ...strict }),
      bento.clear(strict),
      bento.deleteByTag({ tags: ['t'], ...strict }),
    ]
    for (const verb of verbs) expect(await errorOf(verb)).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    expect(asked()).toBe(1)
  })

  test('does not keep a factory from running, nor its value from its callers', async () => {
    const { fleet, bento } = setup()
    fleet.l2.ail(throwing())
    expect(await bento.getOrSet('k', () => 'v')).toBe('v')
    if (shape === 'L1+L2') expect(await bento.getOrSet('k', () => 'again')).toBe('v')
  })

  test('[35] is not opened by a corrupt value: that is a miss, which the next write mends', async () => {
    const { fleet, bento } = setup({ suppressL2Errors: undefined })
    for (const text of ['{"value":', 'null', '"L|t|a"', '']) {
      fleet.l2.kept.set('bentocache:k', { text, deadAt: Infinity })
      expect(await bento.get('k')).toBeUndefined()
      expect(await bento.has('k')).toBe(false)
      expect(await bento.getOrSet('k', () => text)).toBe(text)
      expect(fleet.stored('k')).toMatchObject({ value: text })
      expect(await bento.get('k')).toBe(text)
      await bento.delete('k')
    }
  })

  test('tells the logger of the failure once, and of no more than that while it is open', async () => {
    const { fleet, bento, logger } = setup()
    const refusal = new Error('WRONGTYPE')
    fleet.l2.ail(throwing(refusal))
    for (let n = 0; n < 5; n++) await bento.get('k')
    expect(logger.of('error')).toEqual([expect.objectContaining({ fields: { err: refusal }, bindings: { cache: 'main', layer: 'l2' } })])
  })

  test.each([undefined, 0, null])('of duration %s is none: every operation is tried', async (l2CircuitBreakerDuration) => {
    const { fleet, bento, asked } = setup({ l2CircuitBreakerDuration })
    fleet.l2.ail(throwing())
    for (let n = 0; n < 3; n++) await bento.get('k')
    expect(asked()).toBe(3)
  })

  test('of a negative duration is refused when the store is built', () => {
    expect(() => setup({ l2CircuitBreakerDuration: -1 })).toThrow(expect.objectContaining({ code: 'E_INVALID_ARGUMENTS_EXCEPTION' }))
    expect(() => setup({ l2CircuitBreakerDuration: 'banana' })).toThrow(expect.objectContaining({ code: 'E_INVALID_OPTION', option: 'l2CircuitBreakerDuration' }))
  })
})

test('without a breaker, an L2 that says no is asked every time, and a slow one is not taken for dead', async () => {
  const fleet = new Fleet()
  const bento = fleet.process('L1+L2')
  fleet.l2.ail(slow(fleet.clock, 900))
  const reads = [bento.get('a'), bento.get('b')]
  await fleet.clock.advance(900)
  await Promise.all(reads)
  fleet.l2.heal()
  await settle()
  await bento.get('c')
  expect(fleet.l2.calls.get).toBe(3)
})
