import { describe, expect, test } from 'vitest'
import { throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, REMOTE_SHAPES, SHAPES, Work } from '../support/stores.js'

describe.each(SHAPES)('%s', (shape) => {
  test('deleteByTag hits every entry with one of the tags, and no other', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('a', 1, { tags: ['x'] })
    await bento.set('b', 1, { tags: ['y', 'x'] })
    await bento.getOrSet('c', () => 1, { tags: ['z'] })
    await bento.set('d', 1, { tags: ['y'] })
    await bento.set('e', 1)
    expect(await bento.deleteByTag(['x', 'z'])).toBe(true)
    const found = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((key) => bento.get(key)))
    expect(found).toEqual([undefined, undefined, undefined, 1, 1])
  })

  test('[pin 14] tags belong to the view that set them', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const users = bento.namespace('users')
    await bento.set('k', 'root', { tags: ['t'] })
    await users.set('k', 'users', { tags: ['t'] })
    await users.namespace('eu').set('k', 'eu', { tags: ['t'] })
    const found = async () => [await bento.get('k'), await users.get('k'), await users.namespace('eu').get('k')]

    await bento.deleteByTag(['t'])
    expect(await found()).toEqual([undefined, 'users', 'eu'])
    await bento.namespace('users:eu').deleteByTag(['t'])
    expect(await found()).toEqual([undefined, 'users', undefined])
    await users.deleteByTag(['t'])
    expect(await found()).toEqual([undefined, undefined, undefined])
  })

  test('[pin 14] an entry made 10 ms after the invalidation is valid', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    for (let i = 0; i < 5; i++) {
      await bento.deleteByTag(['t'])
      await fleet.clock.advance(10)
      await bento.set('s', i, { tags: ['t'] })
      expect(await bento.get('s')).toBe(i)
      expect(await bento.getOrSet('c', () => i, { tags: ['t'] })).toBe(i)
      expect(await bento.get('c')).toBe(i)
    }
  })

  test('a factory may add tags, also by what it computed', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const tags = Object.freeze(['own']) as string[]
    for (const [key, add] of Object.entries({
      a: (ctx: any) => ctx.setTags(['added']),
      b: (ctx: any) => ctx.setOptions({ tags: ['added'] }),
    })) {
      await bento.getOrSet({ key, factory: (ctx) => (add(ctx), 'v'), tags })
    }
    await bento.deleteByTag(['added'])
    expect([await bento.get('a'), await bento.get('b')]).toEqual([undefined, undefined])
    await bento.getOrSet({ key: 'a', factory: (ctx) => (ctx.setTags(['added']), 'v'), tags })
    await bento.deleteByTag(['own'])
    expect(await bento.get('a')).toBeUndefined()
    expect(tags).toEqual(['own'])
  })

  test('deleteByTag of nothing writes nothing', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('k', 1, { tags: ['t'] })
    fleet.l2.resetCalls()
    expect(await bento.deleteByTag([])).toBe(true)
    expect(fleet.l2.calls.set).toBe(0)
    expect(await bento.get('k')).toBe(1)
  })

  test('an entry without createdAt, from a foreign writer, cannot be hit by a tag', async () => {
    if (shape === 'L1') return expect(shape).toBe('L1')
    const fleet = new Fleet()
    fleet.l2.kept.set('bentocache:k', { text: '{"value":"v","tags":["t"]}', deadAt: Infinity })
    const bento = fleet.process(shape)
    await bento.deleteByTag(['t'])
    expect(await bento.get('k')).toBe('v')
  })

  test('[10 D-A] a factory that began before deleteByTag, and adds the tag after it, is served to nobody who came later', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const work = new Work()
    const before = bento.getOrSet('k', work.factory)
    await settle()
    await bento.deleteByTag(['late'])
    const after = bento.getOrSet('k', async (ctx) => (ctx.setTags(['late']), 'new'))
    await settle()
    work.contexts[0]!.setTags(['late'])
    work.give('old')
    expect(await before).toBe('old')
    expect(await after).toBe('new')
    expect(await bento.get('k')).toBe('new')
  })
})

describe.each(REMOTE_SHAPES)('%s', (shape) => {
  test('deleteByTag is seen by another process, at once when the entry itself comes from L2', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process(shape), fleet.process(shape)]
    await a.set('k', 'v', { tags: ['t', 'u'], ttl: '1h' })
    await a.set('other', 'v', { tags: ['u'], ttl: '1h' })
    expect(await b.get('other')).toBe('v') // b has asked for u's mark
    await a.deleteByTag(['u'])
    expect(await b.get('k')).toBeUndefined()
    expect(await b.getOrSet('k', () => 'new', { tags: ['t', 'u'] })).toBe('new')
  })

  test('[N25] without bus or feed it is seen within 5 s by who holds a copy', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process(shape, { ttl: '1h' }), fleet.process(shape, { ttl: '1h' })]
    await a.set('k', 'v', { tags: ['t'] })
    await a.set('other', 'v', { tags: ['t'] })
    expect(await b.get('k')).toBe('v')
    await fleet.clock.advance(60_000)
    expect(await b.get('k')).toBe('v')
    await a.deleteByTag(['t'])
    expect(await b.get('other')).toBeUndefined() // comes from L2: at once, and it teaches b the mark
    expect(await b.get('k')).toBeUndefined()
  })

  test('[N25] a copy whose mark nobody asks about is served for 5 s at most, by every verb that reads', async () => {
    const READS: Record<string, (b: ReturnType<Fleet['process']>) => Promise<unknown>> = {
      get: (b) => b.get('k'),
      getOrSet: (b) => b.getOrSet('k', () => 'new', { tags: ['t'] }),
      has: async (b) => ((await b.has('k')) ? 'v' : undefined),
      pull: (b) => b.pull('k'),
    }
    for (const [name, read] of Object.entries(READS)) {
      const fleet = new Fleet()
      const [a, b] = [fleet.process(shape, { ttl: '1h' }), fleet.process(shape, { ttl: '1h' })]
      await a.set('k', 'v', { tags: ['t'] })
      expect(await b.get('k')).toBe('v')
      await a.deleteByTag(['t'])
      await fleet.clock.advance(5_000)
      expect([name, await read(b)]).toEqual([name, name === 'getOrSet' ? 'new' : undefined])
    }
  })

  test('[N26] a failed read of a mark is never remembered: the next read asks again', async () => {
    const fleet = new Fleet({ hasGetMany: true })
    const options = { ttl: '1h', suppressL2Errors: true }
    const [a, b] = [fleet.process(shape, options), fleet.process(shape, options)]
    await a.set('k', 'v', { tags: ['t'] })
    await a.deleteByTag(['t'])
    fleet.l2.ail(throwing(), 'getMany') // the entry can be read, its marks cannot
    const served = await b.get('k')
    expect(['v', undefined]).toContain(served)
    fleet.l2.heal()
    expect(await b.get('k')).toBeUndefined()
    expect(await b.getOrSet('k', () => 'new', { tags: ['t'] })).toBe('new')
  })

  test('[N26] a failed read of a mark leaves what was known of it', async () => {
    const fleet = new Fleet({ hasGetMany: true })
    const [a, b] = [fleet.process(shape, { ttl: '1h' }), fleet.process(shape, { ttl: '1h', suppressL2Errors: true })]
    await a.set('k', 'v', { tags: ['t'] })
    await b.deleteByTag(['t'])
    await fleet.clock.advance(6_000)
    fleet.l2.ail(throwing(), 'getMany')
    expect(await b.get('k')).toBeUndefined()
  })

  test('marks of one entry are read in one round trip, those of a burst of readers once', async () => {
    const fleet = new Fleet({ hasGetMany: true })
    const [a, b] = [fleet.process(shape), fleet.process(shape)]
    await a.set('k', 'v', { tags: ['a', 'b', 'c', 'd', 'e'] })
    fleet.l2.resetCalls()
    expect(await b.get('k')).toBe('v')
    expect(fleet.l2.calls).toMatchObject({ get: 1, getMany: 1, set: 0 })
    fleet.l2.resetCalls()
    expect(await Promise.all(Array.from({ length: 100 }, () => fleet.process('L1+L2').getOrSet('k', () => 'w')))).toEqual(Array(100).fill('v'))
    const c = fleet.process(shape)
    fleet.l2.resetCalls()
    await Promise.all(Array.from({ length: 100 }, () => c.getOrSet('k', () => 'w')))
    expect(fleet.l2.calls).toMatchObject({ get: 1, getMany: 1, set: 0 })
  })
})

test('deleteByTag in one process is seen by all others at once, told by the bus', async () => {
  const fleet = new Fleet()
  const [a, b] = [fleet.process(), fleet.process()]
  await a.set('k', 'v', { tags: ['t'], ttl: '1h' })
  expect(await b.get('k')).toBe('v')
  await a.deleteByTag(['t'])
  await settle()
  expect(await b.get('k')).toBeUndefined()
  expect(await b.get({ key: 'k', grace: '6h' })).toBeUndefined()
})

test('the mark is written for ever: a forever entry that nobody read in between stays invalidated', async () => {
  const fleet = new Fleet()
  const [a, b] = [fleet.process('L1+L2'), fleet.process('L1+L2')]
  await a.setForever('k', 'v', { tags: ['t'] })
  await a.deleteByTag(['t'])
  await fleet.clock.advance(400 * 86_400_000)
  expect([await a.get('k'), await b.get('k')]).toEqual([undefined, undefined])
  expect(fleet.stored('___bc:t:t')!.ttl).toBe(Infinity)
})
