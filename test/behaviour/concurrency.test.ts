import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { settle } from '../support/clock.js'
import { Fleet, SHAPES, Work, errorOf } from '../support/stores.js'

/** Runs `work` and knows how many of it ran at once. */
function counting(fleet: Fleet, o: { ms: number; fails?: (run: number) => boolean }) {
  const seen = { runs: 0, running: 0, most: 0 }
  const factory = async () => {
    const run = ++seen.runs
    seen.most = Math.max(seen.most, ++seen.running)
    await fleet.clock.sleep(o.ms)
    seen.running--
    if (o.fails?.(run)) throw new Error(`run ${run}`)
    return run
  }
  return Object.assign(seen, { factory })
}

describe.each(SHAPES)('on %s, one key', (shape) => {
  test.each([
    ['nothing is kept', { ttl: 0 }, () => false],
    ['every run fails', {}, () => true],
    ['every other run fails', { ttl: 0 }, (run: number) => run % 2 === 0],
  ])('[19] [A3] is computed by one run at a time though callers never stop coming and %s', async (_, options, fails) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, options)
    const work = counting(fleet, { ms: 20, fails })
    const answers: Promise<unknown>[] = []
    for (let ms = 0; ms < 500; ms++) {
      answers.push(bento.getOrSet('k', work.factory).catch((error) => error.code))
      await fleet.clock.advance(1)
    }
    await fleet.clock.advance(200)
    const settled = await Promise.all(answers)
    expect(work.most).toBe(1)
    expect(work.runs).toBeGreaterThan(10)
    expect(work.runs).toBeLessThan(30)
    expect(new Set(settled.map((value) => typeof value))).not.toContain('undefined')
  })

  test('[43] forced by 50 callers in one tick is computed once; who comes after the run began gets a later one', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('k', 'old')
    const work = new Work()
    const first = Promise.all(Array.from({ length: 50 }, () => bento.getOrSet('k', work.factory, { forceFresh: true })))
    await settle()
    expect(work.runs).toBe(1)
    const later = Promise.all([1, 2].map(() => bento.getOrSet('k', work.factory, { forceFresh: true })))
    await settle()
    expect(work.runs).toBe(2)
    work.give('second', 2)
    expect(await later).toEqual(['second', 'second'])
    work.give('first', 1)
    expect(new Set(await first)).toEqual(new Set(['first']))
    expect(await bento.get('k')).toBe('second') // the older run must not undo the younger
  })

  test('[43] forced, is looked up nowhere first', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('k', 'old')
    fleet.l2.resetCalls()
    expect(await bento.getOrSet('k', () => 'new', { forceFresh: true })).toBe('new')
    expect(fleet.l2.calls.get).toBe(0)
    expect(await bento.get('k')).toBe('new')
  })

  test('that is forced everywhere but in a call is not forced at all', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { forceFresh: true, store: { forceFresh: true } })
    await bento.set('k', 'old')
    expect(await bento.getOrSet('k', () => 'new')).toBe('old')
  })

  test('[R12] answers every caller in its own async context', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const request = new AsyncLocalStorage<number>()
    const work = new Work()
    let factoryOf: number | undefined
    const factory = (ctx: any) => {
      factoryOf = request.getStore()
      return work.factory(ctx)
    }
    const calls = Array.from({ length: 20 }, (_, n) =>
      request.run(n, async () => {
        // Bounded and unbounded waits, namespaces too: each kind of wait has a road of its own.
        const options = n % 3 === 0 ? { hardTimeout: 1_000 } : {}
        const view = n % 2 === 0 ? bento : bento.namespace('').namespace('')
        const value = await view.getOrSet('k', factory, options)
        return [value, request.getStore()]
      })
    )
    await settle()
    work.give('v')
    expect(await Promise.all(calls)).toEqual(calls.map((_, n) => ['v', n]))
    expect(factoryOf).toBe(0) // the leader's
    expect(await request.run(77, async () => (await bento.getOrSet('k', factory), request.getStore()))).toBe(77)
  })
})

describe.each(SHAPES)('on %s, a computation that needs itself', (shape) => {
  const setup = (options: object = {}) => {
    const fleet = new Fleet()
    return { fleet, bento: fleet.process(shape, options) }
  }

  test('[41] is refused at once instead of hanging, and the key is free afterwards', async () => {
    const { fleet, bento } = setup()
    const error = await errorOf(bento.getOrSet('k', () => bento.getOrSet('k', () => 'inner')))
    expect(error).toBeInstanceOf(errors.E_FACTORY_ERROR)
    expect(error.cause).toBeInstanceOf(errors.E_RECURSIVE_CALL)
    expect(error.cause).toMatchObject({ code: 'E_RECURSIVE_CALL', key: 'k' })
    expect(fleet.clock.pending).toBe(0)
    expect(await bento.getOrSet('k', () => 'v')).toBe('v')
  })

  test('[41] may answer for itself what to do about it', async () => {
    const { bento } = setup()
    const factory = () => bento.getOrSet('k', () => 'inner').catch((error) => `refused: ${error.code}`)
    expect(await bento.getOrSet('k', factory)).toBe('refused: E_RECURSIVE_CALL')
  })

  test('[41] is recognised under the other names of its key, and after awaits', async () => {
    const { bento } = setup()
    const factory = async () => {
      await new Promise((resolve) => setImmediate(resolve))
      return bento.namespace('users').getOrSet('7', () => 'inner')
    }
    expect((await errorOf(bento.getOrSet('users:7', factory))).cause).toMatchObject({ code: 'E_RECURSIVE_CALL', key: '7' })
  })

  test('[41] is served its stale value, if it may be', async () => {
    const { fleet, bento } = setup({ ttl: '1m', grace: '1h' })
    await bento.set('k', 'old')
    await fleet.clock.advance(60_000)
    const factory = async () => `${await bento.getOrSet('k', () => 'inner')}, and more`
    expect(await bento.getOrSet('k', factory, { timeout: null })).toBe('old, and more')
  })

  test('[41] is refused although each of its calls is forced', async () => {
    const { bento } = setup()
    let runs = 0
    const factory = (): Promise<unknown> => {
      runs++
      return bento.getOrSet('k', factory, { forceFresh: true })
    }
    expect((await errorOf(bento.getOrSet('k', factory, { forceFresh: true }))).cause).toMatchObject({ code: 'E_RECURSIVE_CALL' })
    expect(runs).toBe(1)
  })

  test('[41] is refused although it deletes its own key first', async () => {
    const { bento } = setup()
    let runs = 0
    const factory = async (): Promise<unknown> => {
      runs++
      await bento.delete('k')
      return bento.namespace('').getOrSet('k', factory)
    }
    expect((await errorOf(bento.getOrSet('k', factory))).cause).toMatchObject({ code: 'E_RECURSIVE_CALL' })
    expect(runs).toBe(1)
  })

  test('[R5] is refused through other keys, when two are entered from both ends', async () => {
    const { bento } = setup()
    const pause = () => new Promise((resolve) => setImmediate(resolve))
    const needs = (other: string) => async (): Promise<unknown> => {
      await pause()
      return bento.getOrSet(other, needs(other === 'a' ? 'b' : 'a'))
    }
    const ends = await Promise.all([errorOf(bento.getOrSet('a', needs('b'))), errorOf(bento.getOrSet('b', needs('a')))])
    const codes = ends.map((error) => {
      let cause = error
      while (cause.cause !== undefined) cause = cause.cause
      return cause.code
    })
    expect(codes).toEqual(['E_RECURSIVE_CALL', 'E_RECURSIVE_CALL'])
  })

  test('[R5] is refused through any number of keys', async () => {
    const { bento } = setup()
    const needs = (n: number) => (): Promise<unknown> => bento.getOrSet(`k${n % 7}`, needs(n + 1))
    let error = await errorOf(bento.getOrSet('k0', needs(1)))
    let depth = 0
    for (; error.code === 'E_FACTORY_ERROR'; error = error.cause) depth++
    expect(error).toMatchObject({ code: 'E_RECURSIVE_CALL', key: 'k0' })
    expect(depth).toBe(7)
  })

  test('[41] is not one that needs other keys, however many calls need the same one', async () => {
    const { fleet, bento } = setup()
    let runs = 0
    const base = async () => {
      runs++
      await fleet.clock.sleep(10)
      return 1
    }
    const sum = async () => {
      const parts = await Promise.all([1, 2, 3].map((n) => bento.getOrSet(`part ${n}`, async () => n + (await bento.getOrSet('base', base)))))
      return parts.reduce((a, b) => a + b, 0)
    }
    const all = Promise.all([1, 2, 3].map((n) => bento.getOrSet(`sum ${n}`, sum)))
    expect(await fleet.clock.run(all)).toEqual([9, 9, 9])
    expect(runs).toBe(1)
  })

  test('[41] is not one that reads, writes or deletes its key', async () => {
    const { bento } = setup()
    const factory = async () => {
      await bento.set('k', 1)
      const before = await bento.get('k')
      await bento.delete('k')
      return before + 1
    }
    expect(await bento.getOrSet('k', factory)).toBe(2)
  })

  test('[41] is not a call from what a factory left running: its computation is over', async () => {
    const { bento } = setup()
    const work = new Work()
    let later!: () => Promise<unknown>
    await bento.getOrSet('k', () => {
      later = AsyncLocalStorage.bind(() => bento.getOrSet('k', () => 'again', { forceFresh: true }))
      return 'v'
    })
    const running = bento.getOrSet('other', work.factory) // some factory must run, or nothing is looked for
    await settle()
    expect(await later()).toBe('again')
    work.give('v')
    expect(await running).toBe('v')
  })
})

describe('two stores', () => {
  test('[41] may compute the same key inside each other', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process('L1'), fleet.process('L1')]
    expect(await a.getOrSet('k', () => b.getOrSet('k', () => 'inner'))).toBe('inner')
  })
})

describe('L1 and a bus without an L2', () => {
  test('[20] converges: two processes that read in turn compute once each, and neither expires the other\'s copy', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process('L1+bus', { ttl: '1h' }), fleet.process('L1+bus', { ttl: '1h' })]
    let runs = 0
    for (let n = 0; n < 40; n++) {
      await (n % 2 === 0 ? a : b).getOrSet('k', () => ++runs)
      await fleet.clock.advance(1)
    }
    expect(runs).toBeLessThanOrEqual(2)
    expect(fleet.bus.sent).toEqual([])
  })

  test('[20] still tells of an explicit set: the other process computes anew', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process('L1+bus', { ttl: '1h' }), fleet.process('L1+bus', { ttl: '1h' })]
    await b.getOrSet('k', () => 'old')
    await a.set('k', 'new')
    expect(fleet.bus.sent).toEqual([{ type: 'set', keys: ['k'], namespace: 'bentocache' }])
    expect(await b.get('k')).toBeUndefined()
    expect(await b.getOrSet('k', () => 'newer')).toBe('newer')
  })
})

describe('L2 alone', () => {
  test('[24] costs one read for 10,000 callers, cold and warm', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L2')
    const ask = () => Promise.all(Array.from({ length: 10_000 }, () => bento.getOrSet('k', () => 'v')))
    expect(new Set(await ask())).toEqual(new Set(['v']))
    expect(fleet.l2.calls.get).toBeLessThanOrEqual(2)
    fleet.l2.resetCalls()
    expect(new Set(await ask())).toEqual(new Set(['v']))
    expect(fleet.l2.calls.get).toBe(1)
  })
})
