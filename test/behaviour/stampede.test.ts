import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { slow, throwing, onCall } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { collectGarbage } from '../support/gc.js'
import { Fleet, REMOTE_SHAPES, SHAPES, Work, errorOf } from '../support/stores.js'
import type { Process } from '../support/stores.js'

const CALLERS = 10_000

/** The ways of asking for one key, each as the caller's code would spell it. */
const FORMS: Record<string, (bento: Process, factory: () => Promise<unknown>) => Promise<unknown>> = {
  'the object form': (bento, factory) => bento.getOrSet({ key: 'users:2', factory }),
  'the positional form': (bento, factory) => bento.getOrSet('users:2', factory),
  'the positional form with options': (bento, factory) => bento.getOrSet('users:2', factory, { ttl: '1h', tags: ['t'] }),
  'getOrSetForever': (bento, factory) => bento.getOrSetForever({ key: 'users:2', factory }),
  'getOrSetForever, positional': (bento, factory) => bento.getOrSetForever('users:2', factory),
  'inline namespaces': (bento, factory) => bento.namespace('users').getOrSet({ key: '2', factory }),
  'a named store': (bento, factory) => bento.use('main').getOrSet({ key: 'users:2', factory }),
  'grace and timeouts': (bento, factory) =>
    bento.getOrSet({ key: 'users:2', factory, grace: '6h', timeout: '1s', hardTimeout: '1m', lockTimeout: '1m' }),
  'strictness about L2': (bento, factory) => bento.getOrSet({ key: 'users:2', factory, suppressL2Errors: false }),
}

describe.each(SHAPES)('%s', (shape) => {
  test.each(Object.entries(FORMS))(
    '[issue 3, row 1] [pin 2] 10,000 callers of one cold key cost one factory run and one L2 read: %s',
    async (_, ask) => {
      const fleet = new Fleet()
    const { clock, l2 } = fleet
      const bento = fleet.process(shape)
      let runs = 0
      const factory = async () => {
        runs++
        await clock.sleep(50)
        return { id: 2, run: runs }
      }
      const answers = await clock.run(Promise.all(Array.from({ length: CALLERS }, () => ask(bento, factory))))

      expect(runs).toBe(1)
      expect(answers).toHaveLength(CALLERS)
      expect(answers.every((answer: any) => answer.id === 2 && answer.run === 1)).toBe(true)
      expect(l2.calls.get).toBe(shape === 'L1' ? 0 : 1)
      expect(l2.calls.set).toBe(shape === 'L1' ? 0 : 1)

      expect(await ask(bento, factory)).toEqual({ id: 2, run: 1 })
      expect(runs).toBe(1)
    }
  )

  test('[pin 2] a hundred, a thousand and ten thousand callers each cost one run', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape)
    for (const callers of [100, 1_000, 10_000]) {
      const work = new Work<number>()
      const asking = Promise.all(Array.from({ length: callers }, () => bento.getOrSet(`k${callers}`, work.factory)))
      await settle()
      work.give(callers)
      const answers = await clock.run(asking)
      expect(work.runs).toBe(1)
      expect(answers.filter((answer) => answer === callers)).toHaveLength(callers)
    }
  })

  test('callers that come one by one while the factory runs all join it', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape)
    const work = new Work<string>()
    const asking: Promise<string>[] = []
    for (let i = 0; i < 50; i++) {
      asking.push(bento.getOrSet('k', work.factory))
      await clock.advance(10)
    }
    work.give('v')
    expect(await Promise.all(asking)).toEqual(Array(50).fill('v'))
    expect(work.runs).toBe(1)
  })

  test('every caller owns its copy of what one run computed', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape)
    const factory = async () => (await clock.sleep(10), { list: [1] })
    const [a, b, c] = await clock.run(Promise.all([1, 2, 3].map(() => bento.getOrSet('k', factory))))
    a!.list.push(2)
    expect(b).toEqual({ list: [1] })
    expect(c).toEqual({ list: [1] })
    expect(await bento.get('k')).toEqual({ list: [1] })
  })

  test('[2 A2] [A1] a thousand callers through inline namespaces share one flight with callers at the root', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape)
    const work = new Work<string>()
    const asking = Array.from({ length: 1_000 }, () => bento.namespace('u').getOrSet({ key: '2', factory: work.factory }))
    asking.push(bento.getOrSet({ key: 'u:2', factory: work.factory }), bento.use().getOrSet('u:2', work.factory))
    asking.push(bento.namespace('a').namespace('b').getOrSet('1', work.factory), bento.namespace('a:b').getOrSet('1', work.factory))
    await settle()
    expect(work.runs).toBe(2) // u:2 and a:b:1
    work.give('two', 1)
    work.give('one', 2)
    const answers = await clock.run(Promise.all(asking))
    expect(answers.slice(0, 1_002)).toEqual(Array(1_002).fill('two'))
    expect(answers.slice(1_002)).toEqual(['one', 'one'])
  })

  test('different keys are computed beside each other', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape)
    const startedAt = clock.now()
    const answers = await clock.run(
      Promise.all(Array.from({ length: 20 }, (_, i) => bento.getOrSet(`k${i}`, async () => (await clock.sleep(100), i))))
    )
    expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(clock.now() - startedAt).toBe(100)
  })

  test('[5] with a hardTimeout, 30 callers cost one run, each is rejected after its own wait, and the late value is stored', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape)
    const work = new Work<string>()
    const waits: number[] = []
    const failures: any[] = []
    const asking: Promise<unknown>[] = []
    for (let i = 0; i < 30; i++) {
      const at = clock.now()
      asking.push(
        bento.getOrSet({ key: 'k', factory: work.factory, hardTimeout: 100 }).catch((error) => {
          failures.push(error)
          waits.push(clock.now() - at)
        })
      )
      await clock.advance(10)
    }
    await clock.run(Promise.all(asking))
    expect(work.runs).toBe(1)
    expect(failures).toHaveLength(30)
    expect(failures.every((error) => error instanceof errors.E_FACTORY_HARD_TIMEOUT && error.key === 'k')).toBe(true)
    expect(waits).toEqual(Array(30).fill(100))

    await clock.advance(7_600)
    work.give('late')
    await settle()
    expect(await bento.get('k')).toBe('late')
    if (shape !== 'L1') expect(fleet.stored('k')).toMatchObject({ value: 'late' })
  })

  test('[6] a hung refresh blocks its key for one lockAge only: then a new one starts', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape, { ttl: 100, grace: '6h' })
    await bento.set('k', 'old')
    await clock.advance(200)
    const work = new Work<string>()
    const read = () => clock.run(bento.getOrSet('k', work.factory))

    expect(await read()).toBe('old')
    await clock.advance(29_000)
    expect(await read()).toBe('old')
    expect(work.runs).toBe(1)
    await clock.advance(1_001)
    expect(await read()).toBe('old')
    expect(work.runs).toBe(2)

    work.give('new', 2)
    await settle()
    expect(await bento.get('k')).toBe('new')
    work.give('too late', 1) // the hung one wakes up: what came after it stays
    await settle()
    expect(await bento.get('k')).toBe('new')
  })

  test('[6] a hung factory without a stale value costs one run per lockAge, and its late result is everybody\'s', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape, { lockAge: '10s' })
    const work = new Work<string>()
    const asking: Promise<string>[] = []
    for (let second = 0; second < 35; second++) {
      asking.push(bento.getOrSet('k', work.factory))
      await clock.advance(1_000)
    }
    expect(work.runs).toBe(4)
    work.give('v', 1)
    expect(await clock.run(Promise.all(asking))).toEqual(Array(35).fill('v'))
    expect(await bento.get('k')).toBe('v')
  })

  test('[6] stale reads while a refresh hangs retain no memory', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape, { ttl: 100, grace: '6h', lockAge: null })
    await bento.set('k', 'old')
    await clock.advance(200)
    const work = new Work<string>()
    expect(await clock.run(bento.getOrSet('k', work.factory))).toBe('old')

    const perRead = await retainedPer(25_000, async () => {
      if ((await bento.getOrSet('k', work.factory)) !== 'old') throw new Error('not the stale value')
    })
    expect(work.runs).toBe(1)
    expect(perRead).toBeLessThan(8)
  }, 60_000)

  test('a soft or hard timeout that passes leaves nothing behind in the flight', async () => {
    const fleet = new Fleet()
    const { clock } = fleet
    const bento = fleet.process(shape)
    const work = new Work<string>()
    const ask = () => clock.run(errorOf(bento.getOrSet({ key: 'k', factory: work.factory, hardTimeout: 1, lockAge: null })))
    await ask()
    const timers = clock.pending
    const perCall = await retainedPer(1_000, ask)
    expect(clock.pending).toBe(timers)
    expect(work.runs).toBe(1)
    expect(perCall).toBeLessThan(200) // a wait that stayed would hold three times that
  }, 60_000)
})

describe.each(REMOTE_SHAPES)('%s', (shape) => {
  test('[3] a failed L2 read rejects a strict caller once, and the key is free at once', async () => {
    const fleet = new Fleet()
    const { clock, l2 } = fleet
    const bento = fleet.process(shape, { suppressL2Errors: false })
    l2.ail(onCall(1, throwing(new Error('away'))), 'get')
    const failure = await clock.run(errorOf(bento.getOrSet('k', () => 'v')))
    expect(failure).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    expect(failure.code).toBe('E_L2_CACHE_ERROR')
    expect(failure.cause.message).toBe('away')
    expect(await clock.run(bento.getOrSet('k', () => 'v'))).toBe('v')
    expect(await clock.run(bento.getOrSet('k', () => 'w'))).toBe('v')
  })

  test('[3] the second of two L2 reads may fail too: no flight outlives an exception', async () => {
    const fleet = new Fleet()
    const { clock, l2 } = fleet
    const bento = fleet.process(shape, { suppressL2Errors: false })
    await bento.getOrSet('other', () => 1)
    for (let n = 1; n <= 3; n++) {
      l2.ail(onCall(n, throwing()), 'get')
      for (let i = 0; i < 4; i++) await clock.run(bento.getOrSet(`k${n}`, () => n).catch(() => undefined))
      expect(await clock.run(bento.getOrSet(`k${n}`, () => 'again'))).toBe(n)
    }
  })

  test('[3] an L2 that throws before it returns a promise does no harm', async () => {
    const fleet = new Fleet()
    const { clock, l2 } = fleet
    const bento = fleet.process(shape, { suppressL2Errors: true })
    l2.ail(() => {
      throw new TypeError('chaos: synchronous')
    })
    expect(await clock.run(bento.getOrSet('k', () => 'v'))).toBe('v')
    l2.heal()
    expect(await clock.run(bento.getOrSet('k', () => 'w'))).toBe(shape === 'L2' ? 'w' : 'v')
  })

  test('10,000 callers of a key that L2 has cost one L2 read and no run', async () => {
    const fleet = new Fleet()
    const { clock, l2 } = fleet
    await fleet.process(shape).set('k', { a: 1 })
    const bento = fleet.process(shape)
    l2.resetCalls()
    l2.ail(slow(clock, 5), 'get')
    const work = new Work()
    const answers = await clock.run(Promise.all(Array.from({ length: CALLERS }, () => bento.getOrSet('k', work.factory))))
    expect(answers.every((answer) => answer.a === 1)).toBe(true)
    expect(l2.calls.get).toBe(1)
    expect(work.runs).toBe(0)
  })
})

test('[pin 2] with an L1, five callers of a cold key cause one L2 read', async () => {
  const fleet = new Fleet()
    const { clock, l2 } = fleet
  const bento = fleet.process('L1+L2')
  const answers = await clock.run(Promise.all(Array.from({ length: 5 }, (_, i) => bento.getOrSet(`k`, async () => i))))
  expect(answers).toEqual([0, 0, 0, 0, 0])
  expect(l2.calls.get).toBe(1)
})

test('a store without any tier still computes once for those who wait together', async () => {
  const { BentoCache, bentostore } = await import('../../src/index.js')
  const bento = new BentoCache({ default: 'none', stores: { none: bentostore() } })
  const work = new Work<string>()
  const asking = Promise.all(Array.from({ length: 100 }, () => bento.getOrSet('k', work.factory)))
  await settle()
  work.give('v')
  expect(await asking).toEqual(Array(100).fill('v'))
  expect(work.runs).toBe(1)
  expect(await bento.get('k')).toBeUndefined()
  expect(await bento.getOrSet('k', () => 'w')).toBe('w')
})

/** Bytes that the heap keeps per call. What is kept is kept in every round, noise is not. */
async function retainedPer(calls: number, call: () => Promise<unknown>): Promise<number> {
  let least = Infinity
  for (let round = 0; round < 4; round++) {
    const before = heapUsed()
    for (let i = 0; i < calls; i++) await call()
    least = Math.min(least, (heapUsed() - before) / calls)
  }
  return least
}

function heapUsed(): number {
  for (let i = 0; i < 4; i++) collectGarbage()
  return process.memoryUsage().heapUsed
}
