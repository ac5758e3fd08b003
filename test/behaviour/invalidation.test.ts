import { describe, expect, test } from 'vitest'
import type { CacheProvider } from '../../src/cache/provider.js'
import { hanging, onCall } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, REMOTE_SHAPES, SHAPES, Work } from '../support/stores.js'
import type { Process, Shape } from '../support/stores.js'

interface Verb {
  act(view: CacheProvider): Promise<unknown>
  /** What a reader finds under the key afterwards, if `old` was there before. */
  leaves: 'nothing' | 'v2' | 'a stale value'
  /**
   * The entry may stay where it is, as long as nobody serves it. What tags a flight's result will
   * have is known when it lands: newcomers join it, refuse its result then, and fly again.
   */
  isHiding?: boolean
}

const VERBS: Record<string, Verb> = {
  'delete': { act: (view) => view.delete('k'), leaves: 'nothing' },
  'deleteMany': { act: (view) => view.deleteMany(['j', 'k']), leaves: 'nothing' },
  'pull': { act: (view) => view.pull('k'), leaves: 'nothing' },
  'expire': { act: (view) => view.expire('k'), leaves: 'a stale value' },
  'clear': { act: (view) => view.clear(), leaves: 'nothing' },
  'set': { act: (view) => view.set('k', 'v2', { ttl: '1h', tags: ['t'] }), leaves: 'v2' },
  'deleteByTag': { act: (view) => view.deleteByTag(['t']), leaves: 'nothing', isHiding: true },
}
const ask = (view: CacheProvider, work: Work) => view.getOrSet({ key: 'k', factory: work.factory, tags: ['t'] })

/** The result of an outrun flight is nowhere, or is served to nobody. */
async function expectGone(fleet: Fleet, readers: CacheProvider[], verb: Verb) {
  if (!verb.isHiding) expect(fleet.stored('k')?.value).not.toBe('old')
  for (const reader of readers) {
    expect(await fleet.clock.run(reader.get({ key: 'k', grace: '6h' }))).not.toBe('old')
    expect(await fleet.clock.run(reader.get({ key: 'k', grace: false }))).not.toBe('old')
    expect(await fleet.clock.run(reader.getOrSet({ key: 'k', factory: () => 'newest', ttl: '1h', grace: '6h', tags: ['t'] }))).not.toBe('old')
  }
}

describe.each(SHAPES)('%s', (shape) => {
  describe.each(Object.entries(VERBS))('%s', (_, verb) => {
    test('[10 D-A] [issue 3, row 3] a flight that it outruns stores nothing; who waited gets the result', async () => {
      const fleet = new Fleet()
      const bento = fleet.process(shape, { ttl: '1h' })
      const old = new Work()
      const waiting = [ask(bento, old), ask(bento, old)]
      await settle()
      await verb.act(bento)
      old.give('old')
      expect(await Promise.all(waiting)).toEqual(['old', 'old'])
      await settle()
      expect(await bento.get('k')).toBe(verb.leaves === 'v2' ? 'v2' : undefined)
      await expectGone(fleet, [bento, fleet.process(shape === 'L1' ? 'L2' : shape)], verb)
    })

    test('[D-E] a call made after it never gets what was being computed before, whichever run ends first', async () => {
      for (const first of ['old', 'new']) {
        const fleet = new Fleet()
        const bento = fleet.process(shape, { ttl: '1h' })
        const [old, fresh] = [new Work(), new Work()]
        const before = ask(bento, old)
        await settle()
        await verb.act(bento)
        const after = [ask(bento, fresh), ask(bento, fresh)]
        await settle()
        expect(fresh.runs).toBe(verb.leaves === 'v2' || verb.isHiding ? 0 : 1)

        if (first === 'old' || verb.isHiding) old.give('old')
        await settle()
        if (fresh.runs > 0) fresh.give('new')
        await settle()
        if (first === 'new' && !verb.isHiding) old.give('old')

        const now = verb.leaves === 'v2' ? 'v2' : 'new'
        expect(await Promise.all(after)).toEqual([now, now])
        expect(await before).toBe('old')
        await settle()
        expect(await bento.get('k')).toBe(now)
        if (shape !== 'L1') expect(fleet.stored('k')?.value).toBe(now)
      }
    })

    test('[10 D-B] [issue 3, row 3] a background refresh that it outruns stores nothing', async () => {
      const fleet = new Fleet()
      const bento = fleet.process(shape, { ttl: 100, grace: '6h' })
      await bento.set('k', 'v0', { tags: ['t'] })
      await fleet.clock.advance(200)
      const [old, fresh] = [new Work(), new Work()]
      expect(await ask(bento, old)).toBe('v0')
      await settle()
      expect(old.runs).toBe(1)

      await verb.act(bento)
      const after = ask(bento, fresh)
      await settle()
      expect(fresh.runs).toBe(verb.leaves === 'v2' || verb.isHiding ? 0 : 1)
      old.give('old')
      await settle()
      expect(await bento.get({ key: 'k', grace: false })).toBe(verb.leaves === 'v2' ? 'v2' : undefined)
      if (fresh.runs > 0) fresh.give('new')
      expect(await after).toBe({ 'nothing': 'new', 'v2': 'v2', 'a stale value': 'v0' }[verb.leaves])
      await settle()
      expect(await bento.get({ key: 'k', grace: false })).toBe(verb.leaves === 'v2' ? 'v2' : 'new')
      await expectGone(fleet, [bento], verb)
    })

    test('[10 D-C] a flight whose callers were answered by a timeout is outrun as well', async () => {
      const fleet = new Fleet()
      const bento = fleet.process(shape, { ttl: '1h' })
      const old = new Work()
      await fleet.clock.run(bento.getOrSet({ key: 'k', factory: old.factory, tags: ['t'], hardTimeout: 50 }).catch(() => undefined))
      await verb.act(bento)
      old.give('old')
      await settle()
      expect(await bento.get('k')).toBe(verb.leaves === 'v2' ? 'v2' : undefined)
      await expectGone(fleet, [bento], verb)
    })
  })

  test('[10 D-A] a flight is outrun by what happens to its namespace, its parents and the root, and by nothing beside them', async () => {
    const ACTS: [string, (b: Process) => Promise<unknown>, boolean][] = [
      ['its own view', (b) => b.namespace('users').namespace('eu').delete('9'), true],
      ['the parent', (b) => b.namespace('users').delete('eu:9'), true],
      ['the root', (b) => b.delete('users:eu:9'), true],
      ['clear of its own view', (b) => b.namespace('users:eu').clear(), true],
      ['clear of the parent', (b) => b.namespace('users').clear(), true],
      ['clear of the root', (b) => b.clear(), true],
      ['clear of a neighbour', (b) => b.namespace('users:e').clear(), false],
      ['clear of a child', (b) => b.namespace('users:eu:9').clear(), false],
      ['delete of a neighbour', (b) => b.delete('eu:9'), false],
    ]
    for (const [name, act, isOutrun] of ACTS) {
      const fleet = new Fleet()
      const bento = fleet.process(shape, { ttl: '1h' })
      const work = new Work()
      const asking = bento.namespace('users').namespace('eu').getOrSet('9', work.factory)
      await settle()
      await act(bento)
      work.give('v')
      expect(await asking).toBe('v')
      expect([name, await bento.get('users:eu:9')]).toEqual([name, isOutrun ? undefined : 'v'])
    }
  })

  test('[10 D-A] a thousand deletes during a thousand flights leave nothing of them', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h', memory: { maxItems: 10_000 } })
    const keys = Array.from({ length: 1_000 }, (_, i) => `k${i}`)
    const asking = keys.map((key) => bento.getOrSet(key, async () => (await fleet.clock.sleep(10), 'old')))
    await settle()
    await bento.deleteMany(keys)
    expect(await fleet.clock.run(Promise.all(asking))).toEqual(keys.map(() => 'old'))
    for (const key of keys) expect(await bento.get(key)).toBeUndefined()
    expect(fleet.l2.kept.size).toBe(0)
  })
})

describe.each(REMOTE_SHAPES)('%s', (shape) => {
  describe.each(Object.entries(VERBS))('%s', (name, verb) => {
    test('[10 D-D] it wins over a result that is on its way to L2', async () => {
      const fleet = new Fleet()
      const bento = fleet.process(shape, { ttl: '1h' })
      const stuck = hanging()
      fleet.l2.ail(onCall(1, stuck), 'set')
      const asking = bento.getOrSet({ key: 'k', factory: () => 'old', tags: ['t'] })
      await settle()
      const acting = verb.act(bento)
      await settle()
      stuck.release()
      await fleet.clock.run(Promise.all([asking, acting]))
      expect(await asking).toBe('old')
      await settle()

      // Expired is what was written before: it is stale then, and only that.
      if (name !== 'expire') await expectGone(fleet, [bento, fleet.process(shape)], verb)
      expect(await bento.get('k')).toBe(verb.leaves === 'v2' ? 'v2' : name === 'expire' ? undefined : 'newest')
      expect(await fleet.process(shape).get('k')).toBe(verb.leaves === 'v2' ? 'v2' : name === 'expire' ? undefined : 'newest')
    })

    test('[11 D-F] an L2 reply that it overtakes is served to who asked before, and enters no L1', async () => {
      for (const read of ['get', 'getOrSet'] as const) {
        const fleet = new Fleet()
        await fleet.process('L2').set('k', 'old', { ttl: '1h', tags: ['t'] })
        const bento = fleet.process(shape, { ttl: '1h' })
        const stuck = overtaken()
        fleet.l2.ail(onCall(1, stuck), 'get')
        const asking = read === 'get' ? bento.get('k') : bento.getOrSet({ key: 'k', factory: () => 'computed', tags: ['t'] })
        await settle()
        await verb.act(bento)
        const after = bento.get({ key: 'k', grace: false })
        expect(await after).toBe(verb.leaves === 'v2' ? 'v2' : undefined)
        stuck.release()
        expect(await fleet.clock.run(asking)).toBe(verb.isHiding ? (read === 'get' ? undefined : 'computed') : 'old')
        await settle()
        // From now on only L1 could still have it.
        const left = await bento.get({ key: 'k', grace: false })
        expect(left).toBe(verb.leaves === 'v2' ? 'v2' : verb.isHiding && read === 'getOrSet' ? 'computed' : undefined)
      }
    })
  })

  test.each(Object.entries(VERBS))('[10 D-C] [11 D-F] what is read between a %s and its acknowledgement is gone with it', async (_, verb) => {
    for (const read of ['get', 'getOrSet'] as const) {
      const fleet = new Fleet()
      await fleet.process('L2').set('k', 'old', { ttl: '1h', tags: ['t'] })
      const bento = fleet.process(shape, { ttl: '1h' })
      const stuck = hanging()
      fleet.l2.ail(stuck, 'set', 'delete', 'deleteMany', 'pull', 'clear')
      const acting = verb.act(bento)
      await settle()
      const between = read === 'get' ? bento.get('k') : bento.getOrSet({ key: 'k', factory: () => 'computed', tags: ['t'] })
      await settle() // it finds what is there still, and L1 keeps that
      fleet.l2.heal()
      stuck.release()
      await fleet.clock.run(Promise.all([acting, between]))
      await settle()
      const left = await bento.get({ key: 'k', grace: false })
      expect(left).toBe(verb.leaves === 'v2' ? 'v2' : verb.isHiding && read === 'getOrSet' ? 'computed' : undefined)
    }
  })

  test.each(['delete', 'deleteMany', 'pull', 'expire'] as const)('[10 D-D] a %s after a set whose write is still on its way comes after it', async (name) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h' })
    const stuck = hanging()
    fleet.l2.ail(onCall(1, stuck), 'set')
    const setting = bento.set('k', 'v1')
    await settle()
    const acting = VERBS[name]!.act(bento)
    await settle()
    stuck.release()
    await fleet.clock.run(Promise.all([setting, acting]))
    expect(await bento.has('k')).toBe(false)
    expect(await fleet.process(shape).has('k')).toBe(false)
    expect(fleet.stored('k')?.value).toBe(name === 'expire' ? 'v1' : undefined)
  })

  test('[10 D-D] a set during the write of an older flight survives a clear in between', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h' })
    const stuck = hanging()
    fleet.l2.ail(onCall(1, stuck), 'set')
    const asking = bento.getOrSet('k', () => 'old')
    await settle()
    const acting = [bento.clear(), bento.set('k', 'v2')]
    await settle()
    stuck.release()
    await fleet.clock.run(Promise.all([asking, ...acting]))
    await settle()
    expect(await bento.get('k')).toBe('v2')
    expect(fleet.stored('k')?.value).toBe('v2')
  })
})

describe('by another process, told by the bus', () => {
  const BUS_SHAPES = ['L1+L2+bus', 'L2+bus', 'L1+bus'] as const satisfies Shape[]

  describe.each(BUS_SHAPES)('%s', (shape) => {
    describe.each(Object.entries(VERBS))('%s', (_, verb) => {
      test('[10 D-A] [issue 3, row 3] news outruns a flight: nothing of it is stored, newcomers get newer data', async () => {
        const fleet = new Fleet()
        const [a, b] = [fleet.process(shape, { ttl: '1h' }), fleet.process(shape, { ttl: '1h' })]
        const [old, fresh] = [new Work(), new Work()]
        const before = ask(a, old)
        await settle()
        await verb.act(b)
        await settle()
        const after = ask(a, fresh)
        await settle()
        const isThere = verb.leaves === 'v2' && shape !== 'L1+bus'
        expect(fresh.runs).toBe(isThere || verb.isHiding ? 0 : 1)
        old.give('old')
        expect(await before).toBe('old')
        await settle()
        if (!isThere) fresh.give('new')
        expect(await after).toBe(isThere ? 'v2' : 'new')
        await settle()
        expect(await a.get('k')).toBe(isThere ? 'v2' : 'new')
        await expectGone(fleet, [a, b], verb)
      })

      test('[10 D-B] [issue 3, row 3] news outruns a background refresh', async () => {
        const fleet = new Fleet()
        const [a, b] = [fleet.process(shape, { ttl: 100, grace: '6h' }), fleet.process(shape, { ttl: 100, grace: '6h' })]
        await a.set('k', 'v0', { tags: ['t'] })
        await fleet.clock.advance(200)
        const old = new Work()
        expect(await fleet.clock.run(ask(a, old))).toBe('v0')
        await settle()
        expect(old.runs).toBe(1)
        await verb.act(b)
        await settle()
        old.give('old')
        await settle()
        const isThere = verb.leaves === 'v2' && shape !== 'L1+bus'
        expect(await a.get({ key: 'k', grace: false })).toBe(isThere ? 'v2' : undefined)
        await expectGone(fleet, [a, b], verb)
      })
    })
  })

  describe.each(Object.entries(VERBS))('%s', (name, verb) => {
    test('[10 D-D] news outruns a result that is on its way to L2', async () => {
      const fleet = new Fleet()
      const [a, b] = [fleet.process('L1+L2+bus', { ttl: '1h' }), fleet.process('L1+L2+bus', { ttl: '1h' })]
      const stuck = hanging()
      fleet.l2.ail(onCall(1, stuck), 'set')
      const asking = a.getOrSet({ key: 'k', factory: () => 'old', tags: ['t'] })
      await settle()
      await verb.act(b)
      await settle()
      stuck.release() // the old value arrives after the other process has invalidated the key
      expect(await fleet.clock.run(asking)).toBe('old')
      await settle()
      await expectGone(fleet, [a, b, fleet.process('L1+L2+bus')], verb)
    })

    test('[11 D-F] news overtakes an L2 reply: it enters no L1', async () => {
      for (const read of ['get', 'getOrSet'] as const) {
        const fleet = new Fleet()
        const [a, b] = [fleet.process('L1+L2+bus', { ttl: '1h' }), fleet.process('L1+L2+bus', { ttl: '1h' })]
        await fleet.process('L2').set('k', 'old', { ttl: '1h', tags: ['t'] })
        const stuck = overtaken()
        fleet.l2.ail(onCall(1, stuck), 'get')
        const asking = read === 'get' ? a.get('k') : a.getOrSet({ key: 'k', factory: () => 'computed', tags: ['t'] })
        await settle()
        await verb.act(b)
        await settle()
        stuck.release()
        const served = await fleet.clock.run(asking)
        if (!verb.isHiding) expect(served).toBe('old')
        await settle()
        expect(await a.get({ key: 'k', grace: false })).not.toBe('old')
        if (name === 'set') expect(await a.get('k')).toBe('v2')
      }
    })
  })

  test('[11 D-F] without news an L2 reply is promoted: the next read asks L1 alone', async () => {
    const fleet = new Fleet()
    await fleet.process('L2').set('k', 'v', { ttl: '1h' })
    const a = fleet.process('L1+L2+bus')
    expect(await a.get('k')).toBe('v')
    fleet.l2.resetCalls()
    expect(await a.get('k')).toBe('v')
    expect(fleet.l2.calls.get).toBe(0)
  })
})

/** A read that finds what is there now and answers only once it is released. */
function overtaken() {
  const gate = hanging()
  const trouble = async <T>(work: () => Promise<T>): Promise<T> => {
    const answer = await work()
    return gate(async () => answer)
  }
  return Object.assign(trouble, { release: gate.release })
}
