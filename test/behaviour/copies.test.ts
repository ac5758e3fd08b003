import { describe, expect, test } from 'vitest'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, REMOTE_SHAPES, SHAPES, Work, errorOf } from '../support/stores.js'

/** JSON that counts. */
function countingSerializer() {
  const counts = { serialize: 0, deserialize: 0 }
  const serializer = {
    serialize: (value: unknown) => (counts.serialize++, JSON.stringify(value)),
    deserialize: (text: string) => (counts.deserialize++, JSON.parse(text)),
  }
  return { counts, serializer, reset: () => void (counts.serialize = counts.deserialize = 0) }
}

const value = { id: 1, posts: [{ id: 2 }] }

describe('[25] parsing', () => {
  test('is done once per value handed out, and once per write: reads of L1', async () => {
    const { counts, serializer, reset } = countingSerializer()
    const bento = new Fleet().process('L1', { serializer, ttl: '1h', grace: '6h' })
    await bento.set('k', value, { tags: ['t'] })
    expect(counts).toEqual({ serialize: 1, deserialize: 0 })
    for (let n = 0; n < 10; n++) await bento.get('k')
    expect(counts).toEqual({ serialize: 1, deserialize: 10 })
    reset()
    expect(await bento.has('k')).toBe(true)
    await bento.expire('k')
    expect(await bento.has('k')).toBe(false)
    expect(counts).toEqual({ serialize: 0, deserialize: 0 })
    expect(await bento.get('k')).toEqual(value)
    expect(counts).toEqual({ serialize: 0, deserialize: 1 })
  })

  test('is not done to learn that an entry is stale or revoked', async () => {
    const { counts, serializer, reset } = countingSerializer()
    const fleet = new Fleet()
    const bento = fleet.process('L1', { serializer, ttl: '1m', grace: '6h' })
    await bento.set('k', value, { tags: ['t'] })
    await fleet.clock.advance(60_000)
    reset()
    for (let n = 0; n < 10; n++) expect(await bento.get('k', undefined, { grace: false })).toBeUndefined()
    await bento.deleteByTag(['t'])
    for (let n = 0; n < 10; n++) expect(await bento.get('k')).toBeUndefined()
    expect(counts).toEqual({ serialize: 0, deserialize: 0 })
  })

  test('is done once per caller of a flight, each of whom owns what it gets', async () => {
    const { counts, serializer } = countingSerializer()
    const bento = new Fleet().process('L1', { serializer })
    const work = new Work()
    const all = Promise.all(Array.from({ length: 50 }, () => bento.getOrSet('k', work.factory)))
    await settle()
    work.give(value)
    const got = await all
    expect(counts).toEqual({ serialize: 1, deserialize: 50 })
    expect(got).toEqual(got.map(() => value))
    expect(new Set(got).size).toBe(50)
  })

  test('is done for the stale value a factory asks for, and not for one it does not', async () => {
    const { counts, serializer, reset } = countingSerializer()
    const fleet = new Fleet()
    const bento = fleet.process('L1', { serializer, ttl: '1m', grace: '6h', timeout: null })
    await bento.set('k', value)
    await fleet.clock.advance(60_000)
    reset()
    const skipped = bento.getOrSet('k', (ctx) => (ctx.gracedEntry, ctx.skip()))
    expect(await skipped).toBeUndefined()
    expect(counts.deserialize).toBe(1)
    expect(await bento.getOrSet('k', (ctx) => ctx.skip())).toBeUndefined()
    expect(counts.deserialize).toBe(1)
  })

  test.each(REMOTE_SHAPES)('is done once for a value that comes from L2 (%s)', async (shape) => {
    const { counts, serializer, reset } = countingSerializer()
    const fleet = new Fleet()
    const [writer, reader] = [fleet.process('L2', { serializer }), fleet.process(shape, { serializer })]
    await writer.set('a', value)
    await writer.set('b', value)
    reset()
    expect(await reader.get('a')).toEqual(value)
    expect(await reader.getOrSet('b', () => 'never')).toEqual(value)
    expect(counts).toEqual({ serialize: 0, deserialize: 2 })
  })

  test('is never done in a store by reference, whose L2 is parsed once per read', async () => {
    const { counts, serializer, reset } = countingSerializer()
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { serializer, memory: { serialize: false } })
    await bento.set('k', value)
    expect(counts).toEqual({ serialize: 1, deserialize: 0 })
    for (let n = 0; n < 10; n++) expect(await bento.get('k')).toBe(value)
    expect(counts.deserialize).toBe(0)
    const reader = fleet.process('L1+L2', { serializer, memory: { serialize: false } })
    reset()
    const first = await reader.get('k')
    expect(await reader.get('k')).toBe(first)
    expect(counts.deserialize).toBe(1)
  })

  test('with nothing but L1 by reference, no text is ever made', async () => {
    const { counts, serializer } = countingSerializer()
    const bento = new Fleet().process('L1', { serializer, memory: { serialize: false } })
    await bento.set('k', value)
    await bento.getOrSet('j', () => value)
    expect(counts).toEqual({ serialize: 0, deserialize: 0 })
  })
})

describe.each(SHAPES)('on %s, what a factory gives', (shape) => {
  test.each([
    ['a Date', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['undefined fields', { a: undefined, b: 1 }, { b: 1 }],
    ['a Map', new Map([[1, 2]]), {}],
    ['NaN', NaN, null],
    ['a Uint8Array', new Uint8Array([1, 2]), { 0: 1, 1: 2 }],
    ['a class instance', new (class { a = 1; get b() { return 2 } })(), { a: 1 }],
  ])('[49] reaches all its callers as JSON has it, the first one too: %s', async (_, given, expected) => {
    const bento = new Fleet().process(shape)
    const [first, second] = await Promise.all([bento.getOrSet('k', () => given), bento.getOrSet('k', () => given)])
    const later = await bento.getOrSet('k', () => 'never')
    for (const got of [first, second, later]) expect(got).toStrictEqual(expected)
  })

  test.each([
    ['a BigInt', 5n],
    ['a cycle', (() => { const list: unknown[] = []; list.push(list); return list })()],
    ['a getter that throws', { get a() { throw new Error('mine') } }],
  ])('[49] and cannot be stored reaches its callers all the same, is kept nowhere, and warned of: %s', async (_, given) => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const bento = fleet.process(shape, { logger })
    const got = await Promise.all([1, 2, 3].map(() => bento.getOrSet('k', () => given)))
    expect(got.every((one) => one === given)).toBe(true)
    expect(await bento.get('k')).toBeUndefined()
    expect(fleet.l2.calls.set).toBe(0)
    expect(logger.of('warn')).toEqual([expect.objectContaining({ fields: expect.objectContaining({ key: 'k', err: expect.any(Error) }) })])
  })

  test('[49] an explicit set of what cannot be stored rejects with what the serializer says', async () => {
    const bento = new Fleet().process(shape)
    expect(await errorOf(bento.set('k', 5n))).toBeInstanceOf(TypeError)
    expect(await bento.get('k')).toBeUndefined()
  })

  test('belongs to its caller: what one does to it, nobody else sees', async () => {
    const bento = new Fleet().process(shape)
    const given = { list: [1] }
    const [first, second] = await Promise.all([bento.getOrSet('k', () => given), bento.getOrSet('k', () => given)])
    first.list.push(2)
    given.list.push(3)
    expect(second).toEqual({ list: [1] })
    expect(await bento.get('k')).toEqual({ list: [1] })
  })

  test('[R3] and no tier keeps, is too large or for once, is computed once for all who wait', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { memory: { maxEntrySize: '1kb' } })
    const large = 'x'.repeat(10_000)
    for (const options of [{}, { ttl: 0 }, { skipL2Write: true }]) {
      let runs = 0
      const factory = async () => {
        runs++
        await fleet.clock.sleep(10)
        return large
      }
      const all = Promise.all(Array.from({ length: 50 }, () => bento.getOrSet('k', factory, options)))
      expect(new Set(await fleet.clock.run(all))).toEqual(new Set([large]))
      expect(runs).toBe(1)
      await bento.delete('k')
    }
  })
})

describe('by reference', () => {
  test('[49] all callers get the very thing the factory gave, whatever it is', async () => {
    for (const given of [new Date(), new Map(), 5n, () => 1, Symbol('s'), { a: undefined }]) {
      const bento = new Fleet().process('L1', { memory: { serialize: false } })
      const got = await Promise.all([1, 2].map(() => bento.getOrSet<any>('k', () => given)))
      expect([...got, await bento.get('k')].every((one) => one === given)).toBe(true)
    }
  })
})

describe.each(SHAPES)('on %s, a default', (shape) => {
  test('[48] is made on a miss alone', async () => {
    const bento = new Fleet().process(shape, { ttl: '1m' })
    let made = 0
    const make = () => ++made
    await bento.set('k', 'v')
    await bento.set('null', null)
    expect(await bento.get('k', make)).toBe('v')
    expect(await bento.get({ key: 'null', defaultValue: make })).toBeNull()
    expect(made).toBe(0)
    expect(await bento.get('missing', make)).toBe(1)
    expect(await bento.get({ key: 'missing', defaultValue: make })).toBe(2)
  })

  test.each([
    ['a value', 5, 5],
    ['0', 0, 0],
    ['an empty text', '', ''],
    ['false', false, false],
    ['[N24] null', null, null],
    ['[N24] a function that gives null', () => null, null],
    ['[N24] an async function that gives null', async () => null, null],
    ['a promise', Promise.resolve('p'), 'p'],
    ['an async function', async () => 'a', 'a'],
    ['a function that gives a function', () => () => 'f', 'f'],
    ['nothing', undefined, undefined],
  ])('is what it says: %s', async (_, given: any, expected) => {
    const bento = new Fleet().process(shape)
    expect(await bento.get({ key: 'k', defaultValue: given })).toBe(expected)
    expect(await bento.get('k', given)).toBe(expected)
  })

  test('that fails fails the read', async () => {
    const bento = new Fleet().process(shape)
    await expect(bento.get('k', () => Promise.reject(new Error('mine')))).rejects.toThrow('mine')
  })
})

describe.each(SHAPES)('on %s', (shape) => {
  test('[48] delete tells whether there was something', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('k', 'v')
    expect([await bento.delete('k'), await bento.delete('k'), await bento.delete('never')]).toEqual([true, false, false])
    await bento.set('dead', 'v', { ttl: 10 })
    await fleet.clock.advance(10)
    expect(await bento.delete('dead')).toBe(false)
  })

  test('[48] of two pulls at once one gets the value', async () => {
    const bento = new Fleet().process(shape)
    for (let n = 0; n < 20; n++) {
      await bento.set('k', { n })
      const pulled = await Promise.all([bento.pull('k'), bento.pull('k'), bento.pull({ key: 'k' })])
      expect(pulled.filter((one) => one !== undefined)).toEqual([{ n }])
      expect(await bento.get('k')).toBeUndefined()
    }
  })

  test('pull gives nothing that is missing, stale or revoked, and takes it away all the same', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    expect(await bento.pull('missing')).toBeUndefined()
    await bento.set('stale', 'v', { ttl: '1m', grace: '1h' })
    await bento.set('revoked', 'v', { tags: ['t'] })
    await fleet.clock.advance(60_000)
    await bento.deleteByTag(['t'])
    expect([await bento.pull('stale'), await bento.pull('revoked')]).toEqual([undefined, undefined])
    expect(await bento.get('stale', undefined, { grace: '1h' })).toBeUndefined()
    expect(fleet.stored('revoked')).toBeUndefined()
  })
})

describe('L1 and L2', () => {
  test('[48] delete finds what only one of them has', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process('L1+L2'), fleet.process('L1+L2')]
    await a.set('k', 'v')
    expect(await b.delete('k')).toBe(true) // L2 alone
    expect(await a.delete('k')).toBe(true) // L1 alone
    expect(await a.delete('k')).toBe(false)
  })

  test('[48] of two processes\' pulls at once, one gets the value that L2 has', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process('L1+L2'), fleet.process('L1+L2')]
    await a.set('k', 'v')
    await b.get('k')
    const pulled = await Promise.all([a.pull('k'), b.pull('k')])
    expect(pulled.filter((one) => one !== undefined)).toEqual(['v'])
  })
})
