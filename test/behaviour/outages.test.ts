import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { hanging, losingReply, onCall, throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, REMOTE_SHAPES, Work, errorOf, unhandledDuring } from '../support/stores.js'

const strict = { suppressL2Errors: false }
const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

describe.each(REMOTE_SHAPES)('on %s, a delete that L2 did not take', (shape) => {
  const setup = async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { suppressL2Errors: true, ttl: '1h', grace: '6h' })
    await bento.set('k', 'old')
    return { fleet, bento }
  }

  test.each([
    ['refused it', () => throwing()],
    ['was away', () => throwing(away)],
    ['did not answer', () => hanging()],
  ])('[34] is a miss in this process from then on, and is sent again until it is done: L2 %s', async (_, trouble) => {
    const { fleet, bento } = await setup()
    fleet.l2.ail(trouble())
    const deleted = bento.delete('k')
    await fleet.clock.advance(1_000)
    expect(await deleted).toBe(true)
    fleet.l2.heal('get', 'set') // it can be read again before it can be deleted from
    await fleet.clock.advance(3_000)
    expect(fleet.stored('k')).toMatchObject({ value: 'old' })
    expect(await bento.get('k')).toBeUndefined()
    expect(await bento.has('k')).toBe(false)
    fleet.l2.heal()
    await fleet.clock.advance(5_000)
    expect(fleet.stored('k')).toBeUndefined()
    expect(fleet.clock.pending).toBe(0)
  })

  test('[34] takes nothing that was written since, by this process or another', async () => {
    const { fleet, bento } = await setup()
    await bento.set('j', 'old')
    fleet.l2.ail(throwing(), 'delete', 'deleteMany')
    await bento.deleteMany(['k', 'j'])
    await fleet.clock.advance(1)
    await bento.set('k', 'new')
    await fleet.process('L2').set('j', 'theirs')
    expect(await bento.get('j')).toBe('theirs')
    fleet.l2.heal()
    await fleet.clock.advance(5_000)
    expect([await bento.get('k'), await bento.get('j')]).toEqual(['new', 'theirs'])
    expect([fleet.stored('k')!.value, fleet.stored('j')!.value]).toEqual(['new', 'theirs'])
  })

  test('[34] whose reply was lost is done twice, which harms nobody', async () => {
    const { fleet, bento } = await setup()
    fleet.l2.ail(onCall(1, losingReply()), 'delete')
    await bento.delete('k')
    await fleet.clock.advance(1)
    await bento.set('k', 'new')
    await fleet.clock.advance(5_000)
    expect(await bento.get('k')).toBe('new')
  })

  test('[34] makes the key computable at once', async () => {
    const { fleet, bento } = await setup()
    fleet.l2.ail(throwing(), 'delete')
    await bento.delete('k')
    await fleet.clock.advance(1)
    expect(await bento.getOrSet('k', () => 'new')).toBe('new')
    fleet.l2.heal()
    await fleet.clock.advance(5_000)
    expect(fleet.stored('k')).toMatchObject({ value: 'new' })
  })

  test('is owed for expire and clear too: neither is served as fresh, and both are made good', async () => {
    const { fleet, bento } = await setup()
    await bento.namespace('users').set('1', 'old')
    fleet.l2.ail(throwing(), 'set', 'clear')
    await bento.expire('k')
    await bento.namespace('users').clear()
    fleet.l2.heal('set')
    expect(await bento.get('k', undefined, { grace: false })).toBeUndefined()
    expect(await bento.get('k')).toBe('old') // grace keeps what was expired
    expect(await bento.namespace('users').get('1')).toBeUndefined()
    fleet.l2.heal()
    await fleet.clock.advance(5_000)
    expect(fleet.stored('k')!.logicalExpiration).toBeLessThan(fleet.clock.now())
    expect(fleet.stored('users:1')).toBeUndefined()
  })

  test('is owed for a tag too: no entry of it is served here, and the mark is written in the end', async () => {
    const { fleet, bento } = await setup()
    await bento.set('tagged', 'old', { tags: ['t'] })
    fleet.l2.ail(throwing(), 'set')
    await bento.deleteByTag(['t'])
    const markedAt = fleet.clock.now()
    await fleet.clock.advance(6_000)
    expect(await bento.get('tagged')).toBeUndefined()
    fleet.l2.heal()
    await fleet.clock.advance(5_000)
    expect(fleet.stored('___bc:t:t')!.value).toBeGreaterThanOrEqual(markedAt)
    expect(fleet.stored('___bc:t:t')!.value).toBeLessThan(markedAt + 1_000)
    expect(await fleet.process(shape).get('tagged')).toBeUndefined()
  })
})

describe('a strict caller', () => {
  test.each([
    ['delete', (bento: any) => bento.delete({ key: 'k', ...strict }), { type: 'delete', keys: ['k'] }],
    ['deleteMany', (bento: any) => bento.deleteMany({ keys: ['k', 'j'], ...strict }), { type: 'delete', keys: ['k', 'j'] }],
    ['expire', (bento: any) => bento.expire({ key: 'k', ...strict }), { type: 'expire', keys: ['k'] }],
    ['clear', (bento: any) => bento.clear(strict), { type: 'clear', keys: [] }],
  ] as const)('[N10] whose %s L2 has refused is told, and so are the peers', async (_, verb, message) => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process('L1+L2+bus'), fleet.process('L1+L2+bus')]
    await a.set('k', 'old')
    expect(await b.get('k')).toBe('old')
    fleet.bus.sent.length = 0
    fleet.l2.ail(throwing())
    const error = await errorOf(verb(a))
    expect(error).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    expect(error.cause.message).toBe('chaos: refused')
    expect(fleet.bus.sent).toEqual([{ ...message, namespace: 'bentocache' }])
    fleet.l2.heal()
    fleet.l2.kept.clear()
    expect(await b.get('k')).toBeUndefined()
  })

  test('[N16] whose set L2 has refused finds nothing of it in L1 afterwards', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2+bus')
    await bento.set('k', 'old')
    fleet.bus.sent.length = 0
    fleet.l2.ail(throwing(), 'set')
    expect(await errorOf(bento.set({ key: 'k', value: 'new', ...strict }))).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    expect(await bento.get('k')).not.toBe('new')
    expect(fleet.bus.sent).toEqual([])
  })

  test('[N16] sees a set in this process at once, before L2 has answered', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2')
    const frozen = hanging()
    fleet.l2.ail(frozen, 'set')
    const set = bento.set({ key: 'k', value: 'v', ...strict })
    expect(await bento.get('k')).toBe('v')
    frozen.release()
    expect(await set).toBe(true)
  })

  test('[N16] does not lose what was set after the set that failed', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2')
    fleet.l2.ail(onCall(1, async () => {
      await fleet.clock.sleep(100)
      throw new Error('no')
    }), 'set')
    const first = errorOf(bento.set({ key: 'k', value: 'first', ...strict }))
    const second = bento.set({ key: 'k', value: 'second', skipL2Write: true })
    await fleet.clock.advance(100)
    expect(await first).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    await second
    expect(await bento.get('k')).toBe('second')
  })

  test('[N11] whose deleteByTag could not be written is told', async () => {
    for (const shape of REMOTE_SHAPES) {
      const fleet = new Fleet()
      const bento = fleet.process(shape)
      fleet.l2.ail(throwing(), 'set')
      expect(await errorOf(bento.deleteByTag({ tags: ['t'], ...strict }))).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
      expect(await bento.deleteByTag({ tags: ['t'], suppressL2Errors: true })).toBe(true)
    }
  })

  test('is who says so; without a word, a store with an L1 is lenient and one without is strict', async () => {
    const fleet = new Fleet()
    const [both, alone] = [fleet.process('L1+L2'), fleet.process('L2')]
    fleet.l2.ail(throwing())
    expect(await both.get('k')).toBeUndefined()
    expect(await both.set('k', 'v')).toBe(true)
    expect(await both.getOrSet('j', () => 'v')).toBe('v')
    expect(await errorOf(alone.get('k'))).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    expect(await errorOf(alone.set('k', 'v'))).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    expect(await errorOf(alone.getOrSet('k', () => 'v'))).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
    expect(await alone.get({ key: 'k', suppressL2Errors: true })).toBeUndefined()
    expect(await errorOf(both.get({ key: 'new', ...strict }))).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
  })
})

describe('while L2 is away', () => {
  test.each([
    ['refuses', () => throwing(away)],
    ['[R10] hangs', () => hanging()],
  ])('a store with an L1 lives: hits cost nothing, a first miss waits a second, later ones do not (it %s)', async (_, trouble) => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { ttl: '1h' })
    await bento.set('warm', 'v')
    fleet.l2.ail(trouble())
    const startedAt = fleet.clock.now()
    expect(await bento.getOrSet('warm', () => 'never')).toBe('v')
    expect(fleet.clock.now()).toBe(startedAt)

    const unhandled = await unhandledDuring(async () => {
      expect(await fleet.clock.run(bento.getOrSet('cold', () => 'c'))).toBe('c')
      expect(fleet.clock.now() - startedAt).toBeLessThanOrEqual(1_500)
      await fleet.clock.advance(2_000) // its write has been given up too: the outage is known
      const knownAt = fleet.clock.now()
      for (let n = 0; n < 20; n++) expect(await fleet.clock.run(bento.getOrSet(`cold ${n}`, () => n))).toBe(n)
      expect(fleet.clock.now() - knownAt).toBeLessThanOrEqual(50)
    })
    expect(unhandled).toEqual([])
  })

  test('each key is computed once per ttl, however many ask in a minute', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { ttl: '10s' })
    fleet.l2.ail(throwing(away))
    let runs = 0
    for (let ms = 0; ms < 60_000; ms += 100) {
      await fleet.clock.run(Promise.all([1, 2, 3].map(() => bento.getOrSet('k', () => ++runs))))
      await fleet.clock.advance(100)
    }
    expect(runs).toBe(6)
  })

  test('it is noticed within a second of its return that it is back, and it is written to again', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2')
    fleet.l2.ail(throwing(away))
    await bento.get('k')
    fleet.l2.heal()
    await fleet.clock.advance(1_000)
    await bento.get('k') // whoever asks probes
    await settle()
    await bento.set('k', 'v')
    expect(fleet.stored('k')).toMatchObject({ value: 'v' })
  })

  test('[R10] no verb waits longer than l2Timeout for it', async () => {
    for (const [name, verb] of Object.entries({
      get: (bento: any) => bento.get('k'),
      set: (bento: any) => bento.set('k', 'v'),
      has: (bento: any) => bento.has('k'),
      pull: (bento: any) => bento.pull('k'),
      delete: (bento: any) => bento.delete('k'),
      deleteMany: (bento: any) => bento.deleteMany(['k', 'j']),
      deleteByTag: (bento: any) => bento.deleteByTag(['t']),
      expire: (bento: any) => bento.expire('k'),
      clear: (bento: any) => bento.clear(),
      getOrSet: (bento: any) => bento.getOrSet('k', () => 'v'),
    })) {
      const fleet = new Fleet()
      const bento = fleet.process('L1+L2', { l2Timeout: 300 })
      fleet.l2.ail(hanging())
      const startedAt = fleet.clock.now()
      await fleet.clock.run(verb(bento))
      expect(fleet.clock.now() - startedAt, name).toBeGreaterThan(0)
      expect(fleet.clock.now() - startedAt, name).toBeLessThanOrEqual(300)
    }
  })

  test('[R10] a copy in L1 that could be served bounds the wait to 100 ms', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { ttl: '1m', grace: '1h' })
    await bento.set('k', 'old')
    await fleet.clock.advance(60_000)
    fleet.l2.ail(hanging())
    const startedAt = fleet.clock.now()
    expect(await fleet.clock.run(bento.get('k'))).toBe('old')
    expect(fleet.clock.now() - startedAt).toBe(100)
  })

  test('[R10] with l2Timeout: null everybody waits for it, because they asked to', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { l2Timeout: null })
    const frozen = hanging()
    fleet.l2.ail(frozen)
    let value: unknown = 'waiting'
    void bento.get('k', 'default').then((got) => (value = got))
    await fleet.clock.advance(600_000)
    expect(value).toBe('waiting')
    frozen.release()
    await settle()
    expect(value).toBe('default')
  })
})

describe('after a gap on the bus', () => {
  const setup = async (options: object = {}) => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2+bus', { ttl: '1h', ...options })
    await bento.set('k', 'old')
    await bento.set('same', 'v')
    await bento.set('gone', 'old')
    const unheard = fleet.process('L2') // has no bus: as if its messages had been lost
    await fleet.clock.advance(10)
    await unheard.set('k', 'new', { ttl: '1h' })
    await unheard.delete('gone')
    expect(await bento.get('k')).toBe('old')
    fleet.bus.comeBack()
    fleet.l2.resetCalls()
    return { fleet, bento }
  }

  test('[22] [D-G] L2 is asked before an older copy is served, by every verb', async () => {
    const { bento } = await setup()
    expect(await bento.has('gone')).toBe(false)
    expect(await bento.get('k')).toBe('new')
    expect(await bento.getOrSet('gone', () => 'computed')).toBe('computed')
    const { bento: other } = await setup()
    expect(await other.getOrSet('k', () => 'never')).toBe('new')
    expect(await other.get('gone')).toBeUndefined()
  })

  test('[22] L2 is asked once for a copy that is still right', async () => {
    const { fleet, bento } = await setup()
    for (let n = 0; n < 5; n++) expect(await bento.get('same')).toBe('v')
    expect(fleet.l2.calls.get).toBe(1)
  })

  test('[22] a copy is served unasked when L2 cannot answer, unless it is to be refused', async () => {
    const serving = await setup()
    serving.fleet.l2.ail(throwing(away))
    expect(await serving.bento.get('same')).toBe('v')
    expect(await serving.bento.getOrSet('same', () => 'computed')).toBe('v')
    const refusing = await setup({ onUnverified: 'refuse' })
    refusing.fleet.l2.ail(throwing(away))
    expect(await refusing.bento.get('same')).toBeUndefined()
    expect(await refusing.bento.getOrSet('same', () => 'computed')).toBe('computed')
  })

  test('[22] without an L2 there is nobody to ask: an older copy is stale, and computed anew', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+bus', { ttl: '1h', grace: '6h' })
    await bento.set('k', 'old')
    fleet.bus.comeBack()
    expect(await bento.get('k', undefined, { grace: false })).toBeUndefined()
    expect(await bento.get('k')).toBe('old')
    expect(await bento.getOrSet('k', () => 'new', { grace: false })).toBe('new')
    expect(await bento.get('k', undefined, { grace: false })).toBe('new')
  })

  test('[22] what was under way when it came is not stored: news of its key may have been missed', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2+bus', { ttl: '1h' })
    const work = new Work()
    const read = bento.getOrSet('k', work.factory)
    await settle()
    fleet.bus.comeBack()
    work.give('v')
    expect(await read).toBe('v')
    expect(fleet.stored('k')).toBeUndefined()
    expect(await bento.get('k')).toBeUndefined()
  })
})
