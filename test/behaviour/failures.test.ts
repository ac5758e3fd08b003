import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, SHAPES, Work, errorOf, unhandledDuring } from '../support/stores.js'
import type { Process, Shape } from '../support/stores.js'

type Ask = (bento: Process, factory: (ctx: any) => unknown, caller: number) => Promise<unknown>

const FORMS: Record<string, Ask> = {
  'the object form': (bento, factory) => bento.getOrSet({ key: 'k', factory }),
  'the positional form': (bento, factory) => bento.getOrSet('k', factory),
  'getOrSetForever': (bento, factory) => bento.getOrSetForever({ key: 'k', factory }),
  'with grace but nothing to serve': (bento, factory) => bento.getOrSet({ key: 'k', factory, grace: '6h' }),
  'with bounds': (bento, factory) => bento.getOrSet({ key: 'k', factory, lockTimeout: '1h', hardTimeout: '1h' }),
}

/** How all of them ended, and when the last one did. */
async function outcomes(fleet: Fleet, asking: Promise<unknown>[]) {
  const startedAt = fleet.clock.now()
  const settled = await fleet.clock.run(Promise.allSettled(asking))
  const rejected = settled.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []))
  const values = settled.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
  return { rejected, values, ms: fleet.clock.now() - startedAt }
}

describe.each(SHAPES)('%s', (shape) => {
  describe.each(Object.entries(FORMS))('%s', (_, ask) => {
    test('[1 A2 D-J] [issue 3, row 2] 10,000 callers of a failing factory cost two runs and two factory times', async () => {
      const fleet = new Fleet()
      const bento = fleet.process(shape)
      let runs = 0
      const factory = async () => {
        const run = ++runs
        await fleet.clock.sleep(20)
        if (run > 20) return 'enough seen' // a convoy of 10,000 runs would take minutes
        throw new Error(`failure ${run}`)
      }
      const asking = Array.from({ length: 10_000 }, (_, caller) => ask(bento, factory, caller))
      const { rejected, ms } = await outcomes(fleet, asking)

      expect(runs).toBe(2)
      expect(ms).toBe(40)
      expect(rejected).toHaveLength(10_000)
      // The first failure is its leader's own; the second is everybody's, the very same error.
      expect(rejected[0]).toBeInstanceOf(errors.E_FACTORY_ERROR)
      expect(rejected[0]).toMatchObject({ code: 'E_FACTORY_ERROR', key: 'k', isBackgroundFactory: false, isShared: false })
      expect(rejected[0].cause).toEqual(new Error('failure 1'))
      expect(rejected[1]).toBeInstanceOf(errors.E_FACTORY_ERROR)
      expect(rejected[1].cause).toEqual(new Error('failure 2'))
      expect(new Set(rejected.slice(1)).size).toBe(1)

      expect(await fleet.clock.run(ask(bento, () => 'at once', 0))).toBe('at once')
    })

    test('[1 A2 D-J] skip() is shared: one run, everybody gets undefined, nothing is stored', async () => {
      const fleet = new Fleet()
      const bento = fleet.process(shape)
      let runs = 0
      const factory = async (ctx: any) => {
        runs++
        await fleet.clock.sleep(20)
        return ctx.skip()
      }
      const asking = Array.from({ length: 10_000 }, (_, caller) => ask(bento, factory, caller))
      const { values, ms } = await outcomes(fleet, asking)
      expect(runs).toBe(1)
      expect(ms).toBe(20)
      expect(values).toEqual(Array(10_000).fill(undefined))
      expect(await bento.has('k')).toBe(false)
      expect(fleet.l2.kept.size).toBe(0)
      expect(await fleet.clock.run(ask(bento, () => 'at once', 0))).toBe('at once')
    })
  })

  test('[1 A2 D-J] 500 callers: ctx.fail() costs two runs, within three factory times', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    let runs = 0
    const asking = Array.from({ length: 500 }, () =>
      bento.getOrSet('k', async (ctx) => {
        runs++
        await fleet.clock.sleep(20)
        ctx.fail('no such post')
      })
    )
    const { rejected, ms } = await outcomes(fleet, asking)
    expect(runs).toBe(2)
    expect(ms).toBeLessThan(60)
    expect(rejected.every((error) => error instanceof errors.E_FACTORY_ERROR)).toBe(true)
    expect(rejected.every((error) => (error.cause as Error).message === 'no such post')).toBe(true)
  })

  test('[1 A2 D-J] the second chance is one follower\'s with its own factory; its success is everybody\'s', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const ran: number[] = []
    const factoryOf = (caller: number) => async () => {
      ran.push(caller)
      await fleet.clock.sleep(20)
      if (caller === 0) throw new Error('the first caller only')
      return `of ${caller}`
    }
    const asking = Array.from({ length: 500 }, (_, caller) => bento.getOrSet('k', factoryOf(caller)))
    const { rejected, values } = await outcomes(fleet, asking)
    expect(ran).toHaveLength(2)
    expect(ran[0]).toBe(0)
    expect(rejected).toHaveLength(1)
    expect(rejected[0].cause.message).toBe('the first caller only')
    expect(values).toEqual(Array(499).fill(`of ${ran[1]}`))
    expect(await bento.get('k')).toBe(`of ${ran[1]}`)
  })

  test('[pin 1] of two callers at once, the first fails and rejects, the second succeeds with its own factory', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const asking = [
      bento.getOrSet('k', async () => {
        await fleet.clock.sleep(10)
        throw new Error('first')
      }),
      bento.getOrSet('k', async () => 'second'),
    ]
    const [first, second] = await fleet.clock.run(Promise.allSettled(asking))
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'E_FACTORY_ERROR', cause: { message: 'first' } } })
    expect(second).toEqual({ status: 'fulfilled', value: 'second' })
  })

  test('[1 A2 D-J] with a stale value to serve there is no second chance: one run, everybody is served stale', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: 100, grace: '6h', timeout: null })
    await bento.set('k', 'old')
    await fleet.clock.advance(200)
    let runs = 0
    const asking = Array.from({ length: 500 }, () =>
      bento.getOrSet('k', async () => {
        runs++
        await fleet.clock.sleep(20)
        throw new Error('down')
      })
    )
    const { values, ms } = await outcomes(fleet, asking)
    expect(runs).toBe(1)
    expect(ms).toBe(20)
    expect(values).toEqual(Array(500).fill('old'))
  })

  test('[issue 3, row 2] a failure is not remembered: each later call tries again', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    let runs = 0
    for (let i = 1; i <= 5; i++) {
      const error = await fleet.clock.run(errorOf(bento.getOrSet('k', () => Promise.reject(new Error(`${++runs}`)))))
      expect(error.cause.message).toBe(`${i}`)
    }
    expect(runs).toBe(5)
  })

  const THROWN: [string, unknown][] = [
    ['a string', 'text'],
    ['a number', 0],
    ['null', null],
    ['undefined', undefined],
    ['a plain object', { reason: 'plain' }],
    ['a symbol', Symbol.for('thrown')],
  ]
  test.each(THROWN)('[N7] [issue 3, row 2] a factory that throws %s: E_FACTORY_ERROR with that cause, told to onFactoryError, two runs', async (_, thrown) => {
    const fleet = new Fleet()
    const told: any[] = []
    const bento = fleet.process(shape, { onFactoryError: (error) => told.push(error) })
    let runs = 0
    const asking = Array.from({ length: 100 }, () =>
      bento.getOrSet('k', async () => {
        runs++
        await fleet.clock.sleep(20)
        throw thrown
      })
    )
    const { rejected } = await outcomes(fleet, asking)
    expect(runs).toBe(2)
    expect(rejected).toHaveLength(100)
    for (const error of rejected) {
      expect(error).toBeInstanceOf(errors.E_FACTORY_ERROR)
      expect(error.cause).toBe(thrown)
    }
    expect(told).toEqual([rejected[0], rejected[1]])
  })

  test('a factory that throws before it returns a promise is a failed factory', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const promise = bento.getOrSet('k', () => {
      throw new RangeError('synchronous')
    })
    const error = await fleet.clock.run(errorOf(promise))
    expect(error).toMatchObject({ code: 'E_FACTORY_ERROR', cause: new RangeError('synchronous') })
  })

  test.each([['undefined', undefined], ['a promise', Promise.resolve('v')], ['a value', 'v']])(
    'a factory that is %s instead of a function: E_FACTORY_ERROR, caused by a TypeError',
    async (_, factory: any) => {
      const fleet = new Fleet()
      const error = await fleet.clock.run(errorOf(fleet.process(shape).getOrSet('k', factory)))
      expect(error).toBeInstanceOf(errors.E_FACTORY_ERROR)
      expect(error.cause).toBeInstanceOf(TypeError)
    }
  )

  test('[pin 13] a factory that returns undefined: E_UNDEFINED_VALUE for those who have nothing else', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    let runs = 0
    const asking = Array.from({ length: 100 }, () => bento.getOrSet('k', async () => (runs++, await fleet.clock.sleep(20))))
    const { rejected } = await outcomes(fleet, asking)
    expect(runs).toBe(2)
    expect(rejected).toHaveLength(100)
    for (const error of rejected) {
      expect(error).toBeInstanceOf(errors.E_UNDEFINED_VALUE)
      expect(error).toMatchObject({ code: 'E_UNDEFINED_VALUE', message: 'Cannot set undefined value in the cache, key: k' })
    }
  })

  describe('while the stale value is served', () => {
    const down = () => Promise.reject(new Error('down'))
    const REFRESHES: Record<string, { factory: () => unknown; isFailure: boolean; breaks?: 'writes' | 'onFactoryError' }> = {
      'returns undefined': { factory: () => undefined, isFailure: true },
      'throws an Error': { factory: down, isFailure: true },
      'throws a string': { factory: () => Promise.reject('down'), isFailure: true },
      'throws, and onFactoryError throws too': { factory: down, isFailure: true, breaks: 'onFactoryError' },
      'cannot be stored in L2': { factory: () => 'new', isFailure: false, breaks: 'writes' },
      'cannot be serialized': { factory: () => 1n, isFailure: false },
    }
    test.each(Object.entries(REFRESHES))('[4 A4] [N7] a refresh in the background that %s is no unhandled rejection', async (_, { factory, isFailure, breaks }) => {
      const fleet = new Fleet()
      const logger = new LogBook()
      const told: any[] = []
      const bento = fleet.process(shape, {
        ttl: 100,
        grace: '6h',
        logger,
        suppressL2Errors: false,
        onFactoryError: (error) => {
          told.push(error)
          if (breaks === 'onFactoryError') throw new Error('the hook is broken')
        },
      })
      await bento.set('k', 'old')
      await fleet.clock.advance(200)
      if (breaks === 'writes') fleet.l2.ail(throwing(new Error('full')), 'set')

      let served: unknown
      const unhandled = await unhandledDuring(async () => {
        served = await fleet.clock.run(bento.getOrSet('k', factory))
        await settle()
      })
      expect(unhandled).toEqual([])
      expect(served).toBe('old')
      expect(told).toHaveLength(isFailure ? 1 : 0)
      if (isFailure) {
        expect(told[0]).toBeInstanceOf(errors.E_FACTORY_ERROR)
        expect(told[0].isBackgroundFactory).toBe(true)
        expect(logger.of('warn', /factory failed/)).toHaveLength(1)
      }
      if (breaks === 'onFactoryError') expect(logger.of('error', /onFactoryError threw/)).toHaveLength(1)
      if (breaks === 'writes' && shape !== 'L1') expect(logger.of('error', /L2 operation failed/)).toHaveLength(1)
      // The key is free: the next refresh works.
      fleet.l2.heal()
      await fleet.clock.advance(11_000)
      await fleet.clock.run(bento.getOrSet('k', () => 'healed'))
      await settle()
      expect(await bento.get('k')).toBe('healed')
    })
  })

  test('[4 A4] nobody waits for a call whose caller has left: its rejection is the caller\'s alone', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const work = new Work()
    const unhandled = await unhandledDuring(async () => {
      const asking = bento.getOrSet({ key: 'k', factory: work.factory, hardTimeout: 10 })
      const timeout = await fleet.clock.run(errorOf(asking))
      expect(timeout).toBeInstanceOf(errors.E_FACTORY_HARD_TIMEOUT)
      work.fail(new Error('nobody is there'))
      await settle()
    })
    expect(unhandled).toEqual([])
    expect(await fleet.clock.run(bento.getOrSet('k', () => 'v'))).toBe('v')
  })

  test('what onFactoryError throws is logged, and the caller gets its own error all the same', async () => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const bento = fleet.process(shape, { logger, onFactoryError: () => raise(new Error('the hook is broken')) })
    const error = await fleet.clock.run(errorOf(bento.getOrSet('k', () => Promise.reject(new Error('down')))))
    expect(error).toMatchObject({ code: 'E_FACTORY_ERROR', cause: { message: 'down' } })
    expect(logger.of('error', /onFactoryError threw/)[0]!.fields).toMatchObject({ err: { message: 'the hook is broken' }, key: 'k' })
  })

  test('the error names the key as its caller did', async () => {
    const fleet = new Fleet()
    const users = fleet.process(shape).namespace('users')
    const fail = () => Promise.reject(new Error('down'))
    expect((await fleet.clock.run(errorOf(users.getOrSet('7', fail)))).key).toBe('7')
  })
})

test('[1 A2 D-J] groups of callers keep their places: who came for the second run shares its failure', async () => {
  const fleet = new Fleet()
  const bento = fleet.process('L1+L2' satisfies Shape)
  const work = new Work()
  const first = errorOf(bento.getOrSet('k', work.factory))
  const second = errorOf(bento.getOrSet('k', work.factory))
  await settle()
  work.fail(new Error('one'), 1)
  await settle()
  expect((await first).cause.message).toBe('one')
  const third = errorOf(bento.getOrSet('k', work.factory)) // comes while the second chance runs
  await settle()
  expect(work.runs).toBe(2)
  work.fail(new Error('two'), 2)
  expect((await second).cause.message).toBe('two')
  expect((await third).cause.message).toBe('two')
  expect(work.runs).toBe(2)
})

function raise(error: Error): never {
  throw error
}
