import { describe, expect, test } from 'vitest'
import type { CacheSerializer } from '../../src/base/contract.js'
import { errors } from '../../src/index.js'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, REMOTE_SHAPES, SHAPES, errorOf } from '../support/stores.js'

const VALUES: [string, unknown][] = [
  ['null', null],
  ['false', false],
  ['0', 0],
  ['-1.5', -1.5],
  ['an empty text', ''],
  ['a text', 'é🚀\n"quoted" \u2028'],
  ['an empty array', []],
  ['an array with holes of null', [1, null, [2, { a: [] }]]],
  ['an object', { a: { b: [1, { c: null }] }, '': 0 }],
  ['an own __proto__', JSON.parse('{"__proto__":{"polluted":true},"a":1}')],
  ['a large array', Array.from({ length: 1_000 }, (_, i) => ({ i }))],
]

describe.each(SHAPES)('%s', (shape) => {
  test.each(VALUES)('[pin 13] %s is a value: it is stored, found, and computed once', async (_, value) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    expect(await bento.set('set', value)).toBe(true)
    expect(await bento.get('set', 'default')).toEqual(value)
    expect(await bento.has('set')).toBe(true)
    expect(await bento.missing('set')).toBe(false)

    let runs = 0
    const factory = async () => (runs++, value)
    for (let i = 0; i < 3; i++) expect(await bento.getOrSet('computed', factory)).toEqual(value)
    expect(runs).toBe(1)
    expect(await fleet.process(shape === 'L1' ? 'L2' : shape).get('computed')).toEqual(shape === 'L1' ? undefined : value)
    expect(await bento.pull('set')).toEqual(value)
    expect(await bento.get('set')).toBeUndefined()
    expect(({} as any).polluted).toBeUndefined()
  })

  test('[pin 13] undefined cannot be stored: E_UNDEFINED_VALUE, and what was there stays', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('k', 'v')
    for (const asking of [bento.set('k', undefined), bento.set({ key: 'k', value: undefined }), bento.setForever('k', undefined)]) {
      const error = await errorOf(asking)
      expect(error).toBeInstanceOf(errors.E_UNDEFINED_VALUE)
      expect(error).toMatchObject({ code: 'E_UNDEFINED_VALUE', message: 'Cannot set undefined value in the cache, key: k' })
    }
    expect(await bento.get('k')).toBe('v')
  })

  test('[pin 13] has is false for what is stale or invalidated by a tag, within grace too', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { grace: '6h' })
    await bento.set('stale', 1, { ttl: 100 })
    await bento.set('tagged', 1, { ttl: '1h', tags: ['t'] })
    expect([await bento.has('stale'), await bento.has('tagged')]).toEqual([true, true])
    await fleet.clock.advance(100)
    await bento.deleteByTag(['t'])
    expect([await bento.has('stale'), await bento.has('tagged')]).toEqual([false, false])
    expect([await bento.missing('stale'), await bento.missing('tagged')]).toEqual([true, true])
    expect([await bento.get('stale'), await bento.get('tagged')]).toEqual([1, undefined])
  })

  test.each([0, -1, -3_600_000, '0', '0s', '0ms', '-5m'])('[12] a ttl of %j keeps nothing and removes what was there', async (ttl) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.setForever('k', 'old')
    await bento.setForever('f', 'old')
    expect(await bento.set('k', 'new', { ttl })).toBe(true)
    expect(await bento.get('k')).toBeUndefined()
    expect(await bento.get({ key: 'k', grace: '6h' })).toBeUndefined()
    expect(await bento.has('k')).toBe(false)
    expect(fleet.stored('k')).toBeUndefined()

    expect(await bento.getOrSet({ key: 'f', factory: () => 'computed', ttl, forceFresh: true })).toBe('computed')
    expect(await bento.get('f')).toBeUndefined()
    expect(fleet.stored('f')).toBeUndefined()
    let runs = 0
    for (let i = 0; i < 3; i++) await bento.getOrSet({ key: 'g', factory: () => ++runs, ttl })
    expect(runs).toBe(3)
    expect(await bento.getOrSet('h', (ctx) => (ctx.setOptions({ ttl }), 'computed'))).toBe('computed')
    expect(await bento.get('h')).toBeUndefined()
  })

  test('[12] a ttl of 0 still answers everybody who waits with one run', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    let runs = 0
    const factory = async () => (await fleet.clock.sleep(20), ++runs)
    const asking = Array.from({ length: 1_000 }, () => bento.getOrSet('k', factory, { ttl: 0 }))
    expect(await fleet.clock.run(Promise.all(asking))).toEqual(Array(1_000).fill(1))
    expect(await fleet.clock.run(bento.getOrSet('k', factory, { ttl: 0 }))).toBe(2)
  })

  test('[12] with grace, a ttl of 0 stores a value that is stale already', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    expect(await bento.set('k', 'v', { ttl: 0, grace: '1h' })).toBe(true)
    expect(await bento.get({ key: 'k', grace: false })).toBeUndefined()
    expect(await bento.has('k')).toBe(false)
    expect(await bento.get({ key: 'k', grace: '1h' })).toBe('v')
    if (shape !== 'L1') expect(fleet.stored('k')).toMatchObject({ value: 'v', ttl: 3_600_000 })
    expect(await bento.getOrSet({ key: 'k', factory: () => 'new', grace: '1h' })).toBe('v')
    await settle()
    expect(await bento.get('k')).toBe('new')
  })

  test('[12] a ttl that is not a number is refused by name', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    for (const asking of [bento.set('k', 1, { ttl: NaN }), bento.getOrSet('k', () => 1, { ttl: NaN }), bento.set({ key: 'k', value: 1, ttl: NaN })]) {
      const error = await errorOf(asking)
      expect(error).toBeInstanceOf(errors.E_INVALID_OPTION)
      expect(error).toBeInstanceOf(TypeError)
      expect(error).toMatchObject({ code: 'E_INVALID_OPTION', option: 'ttl' })
    }
    expect(await bento.get('k')).toBeUndefined()
  })

  test.each([null, Infinity])('[N13] a ttl of %s is for ever', async (ttl) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('s', 'v', { ttl })
    await bento.getOrSet('c', () => 'v', { ttl })
    await fleet.clock.advance(50 * 365 * 86_400_000)
    expect([await bento.get('s'), await bento.get('c')]).toEqual(['v', 'v'])
    if (shape !== 'L1') expect([fleet.stored('s')!.ttl, fleet.stored('c')!.ttl]).toEqual([Infinity, Infinity])
  })

  test('a value that JSON cannot hold rejects a set; a computed one is returned, not stored, and logged', async () => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const bento = fleet.process(shape, { logger })
    await expect(bento.set('k', 1n)).rejects.toThrow(TypeError)
    const cycle: any = {}
    cycle.self = cycle
    let runs = 0
    const factory = async () => (runs++, await fleet.clock.sleep(10), cycle)
    const answers = await fleet.clock.run(Promise.all([1, 2, 3].map(() => bento.getOrSet('c', factory))))
    expect(answers.every((answer) => answer === cycle)).toBe(true)
    expect(runs).toBe(1)
    expect(logger.of('warn', /cannot be stored/)).toHaveLength(1)
    expect(await bento.get('c')).toBeUndefined()
  })
})

describe.each(REMOTE_SHAPES)('%s', (shape) => {
  test('[13] a ttl with a fraction reaches L2 as whole milliseconds, rounded up', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.set('s', 1, { ttl: 1_500.5 })
    await bento.getOrSet('c', () => 1, { ttl: '1.5007s' })
    await bento.set('g', 1, { ttl: 10, grace: 1_500.5 })
    for (const key of ['s', 'c', 'g']) expect(fleet.stored(key)!.ttl).toBe(1_501)
    expect(Number.isInteger(fleet.stored('s')!.logicalExpiration)).toBe(true)
  })

  test('[pin 15] an envelope with nothing but a value is a fresh hit, for ever', async () => {
    const fleet = new Fleet()
    fleet.l2.kept.set('bentocache:k', { text: '{"value":"bar"}', deadAt: Infinity })
    const bento = fleet.process(shape)
    expect(await bento.get('k')).toBe('bar')
    expect(await bento.getOrSet('k', () => 'computed')).toBe('bar')
    expect(await bento.has('k')).toBe(true)
    await fleet.clock.advance(365 * 86_400_000)
    expect(await fleet.process(shape).get('k')).toBe('bar')
  })

  test('[pin 15] both spellings of 1.6.1 are read, and unknown fields do no harm', async () => {
    const fleet = new Fleet()
    const at = fleet.clock.now()
    const texts = {
      written: `{"value":"v","logicalExpiration":${at + 1_000},"tags":[],"createdAt":${at}}`,
      rewritten: `{"value":"v","createdAt":${at},"logicalExpiration":${at + 1_000},"tags":["a"]}`,
      untagged: `{"value":"v","createdAt":${at},"logicalExpiration":${at + 1_000}}`,
      newer: `{"version":2,"value":"v","logicalExpiration":${at + 1_000},"createdAt":${at},"checksum":null}`,
      'stale for ever': `{"value":"v","logicalExpiration":null,"createdAt":${at}}`,
    }
    for (const [key, text] of Object.entries(texts)) fleet.l2.kept.set(`bentocache:${key}`, { text, deadAt: Infinity })
    const bento = fleet.process(shape)
    const freshness = async () => Promise.all(Object.keys(texts).map((key) => bento.has(key)))
    expect(await freshness()).toEqual([true, true, true, true, false])
    expect(await bento.get('newer')).toBe('v')
    expect(await bento.get({ key: 'stale for ever', grace: '1h' })).toBe('v')
    await fleet.clock.advance(1_000)
    expect(await freshness()).toEqual([false, false, false, false, false])
  })

  test('[pin 15] createdAt survives promotion: a tag invalidated after the write hits the promoted copy', async () => {
    const fleet = new Fleet()
    await fleet.process(shape).set('k', 'v', { tags: ['t'], ttl: '1h' })
    await fleet.clock.advance(1_000)
    const bento = fleet.process(shape)
    expect(await bento.get('k')).toBe('v') // promoted a second after it was made
    await fleet.clock.advance(10)
    await bento.deleteByTag(['t'])
    expect(await bento.get('k')).toBeUndefined()
    const { createdAt } = fleet.stored('k')!
    expect(createdAt).toBe(fleet.clock.now() - 1_010)
  })

  test('what is stored in L2 is 1.6.1\'s envelope', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const at = fleet.clock.now()
    await bento.set('k', { a: 1 }, { ttl: '1h', tags: ['a', 'b'] })
    await bento.setForever('f', 'v')
    expect(JSON.parse(fleet.l2.kept.get('bentocache:k')!.text)).toEqual({ value: { a: 1 }, tags: ['a', 'b'], createdAt: at, logicalExpiration: at + 3_600_000 })
    const forever = JSON.parse(fleet.l2.kept.get('bentocache:f')!.text)
    expect(forever).toMatchObject({ value: 'v', createdAt: at })
    expect(forever.logicalExpiration ?? Infinity).toBeGreaterThan(at + 100 * 365 * 86_400_000)
  })

  test('[pin 17] a serializer of one\'s own sees the whole envelope and brings a Date back', async () => {
    const fleet = new Fleet()
    const serializer = withDates()
    const options = { serializer, ttl: '1h' }
    const bento = fleet.process(shape, options)
    const date = new Date(86_400_000)
    await bento.set('k', { date }, { tags: ['t'] })
    expect(await bento.get('k')).toEqual({ date })
    expect(await bento.get('k')).not.toBe(await bento.get('k'))
    expect(await bento.getOrSet('c', () => date)).toEqual(date)
    expect(await bento.getOrSet('c', () => 0)).toEqual(date)
    const peer = fleet.process(shape, options)
    expect(await peer.get('k')).toEqual({ date })
    expect(await peer.getOrSet('c', () => 0)).toEqual(date)
    expect(serializer.seen).toContainEqual(expect.objectContaining({ value: { date }, tags: ['t'] }))
    await peer.expire('k')
    expect(await fleet.process(shape, options).get({ key: 'k', grace: '1h' })).toEqual({ date })
    expect(await peer.has('k')).toBe(false)
  })
})

describe('serialize: false', () => {
  const memory = { serialize: false }

  test('[pin 16] L1 hands out what it was given; another process that reads L2 gets what JSON makes of it', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process('L1+L2', { memory }), fleet.process('L1+L2', { memory })]
    const date = new Date(86_400_000)
    await a.set('k', date)
    expect(await a.get('k')).toBe(date)
    expect(await b.get('k')).toBe('1970-01-02T00:00:00.000Z')
  })

  test('the same reference is handed out to everybody, and kept', async () => {
    for (const shape of ['L1', 'L1+L2'] as const) {
      const fleet = new Fleet()
      const bento = fleet.process(shape, { memory })
      const value = { list: [1], when: new Date(0) }
      const answers = await Promise.all([1, 2, 3].map(() => bento.getOrSet('k', () => value)))
      expect(answers.every((answer) => answer === value)).toBe(true)
      expect(await bento.get('k')).toBe(value)
      expect(await bento.getOrSet('k', () => ({ list: [], when: new Date(1) }))).toBe(value)
    }
  })

  test('[7] an entry promoted from L2 can be read again and again: L1 never holds text', async () => {
    const fleet = new Fleet()
    await fleet.process('L1+L2', { memory }).set('k', { a: [1] })
    const bento = fleet.process('L1+L2', { memory })
    const first = await bento.get('k')
    expect(first).toEqual({ a: [1] })
    expect(await bento.get('k')).toBe(first)
    expect(await bento.getOrSet('k', () => ({ a: [] }))).toBe(first)
    expect(await bento.pull('k')).toEqual({ a: [1] })
    expect(await bento.has('k')).toBe(false)
  })

  test('[7] expired and graced copies of promoted entries are objects too', async () => {
    const fleet = new Fleet()
    await fleet.process('L1+L2', { memory }).set('k', { a: 1 }, { ttl: 100, grace: '1h' })
    const bento = fleet.process('L1+L2', { memory, grace: '1h' })
    await fleet.clock.advance(200)
    expect(await bento.get('k')).toEqual({ a: 1 })
    expect(await bento.get('k')).toEqual({ a: 1 })
    const seen: any[] = []
    expect(await bento.getOrSet('k', (ctx) => (seen.push(ctx.gracedEntry), { a: 2 }))).toEqual({ a: 1 })
    await settle()
    expect(seen).toEqual([{ value: { a: 1 } }])
    expect(await bento.get('k')).toEqual({ a: 2 })
  })

  test('[N2] it is the store\'s: views of root and namespaces read the same reference, whoever wrote it', async () => {
    for (const shape of ['L1', 'L1+L2'] as const) {
      const fleet = new Fleet()
      const bento = fleet.process(shape, { memory })
      const users = bento.namespace('users')
      const one = { id: 1, at: new Date(0) }
      await users.set('1', one)
      expect(await bento.get('users:1')).toBe(one)
      expect(await users.get('1')).toBe(one)
      expect(await bento.namespace('users').namespace('').get('1')).toBe(one)
      const two = { id: 2 }
      await bento.set('users:eu:2', two)
      expect(await users.namespace('eu').get('2')).toBe(two)
      expect(await users.namespace('eu').getOrSet('2', () => ({ id: 0 }))).toBe(two)
      const three = { id: 3 }
      expect(await users.getOrSet('3', () => three)).toBe(three)
      expect(await bento.get('users:3')).toBe(three)
    }
  })

  test('[N2] entries promoted through one view are read through the others', async () => {
    const fleet = new Fleet()
    await fleet.process('L1+L2', { memory }).namespace('users').set('1', { id: 1 })
    const bento = fleet.process('L1+L2', { memory })
    const promoted = await bento.namespace('users').get('1')
    expect(promoted).toEqual({ id: 1 })
    expect(await bento.get('users:1')).toBe(promoted)
  })
})

test('[12] a ttl of 0 removes what peers hold', async () => {
  const fleet = new Fleet()
  const [a, b, c] = [fleet.process(), fleet.process(), fleet.process('L1+bus')]
  await c.set('k', 'old') // has no L2: keeps its own
  await a.setForever('k', 'old')
  expect(await b.get('k')).toBe('old')
  await a.set('k', 'new', { ttl: 0 })
  await settle()
  expect(await b.get('k')).toBeUndefined()
  expect(await b.get({ key: 'k', grace: '6h' })).toBeUndefined()
  expect(await c.get({ key: 'k', grace: '6h' })).toBeUndefined()

  await a.setForever('f', 'old')
  expect(await b.get('f')).toBe('old')
  await a.getOrSet({ key: 'f', factory: () => 'computed', ttl: 0, forceFresh: true })
  await settle()
  expect(await b.get('f')).toBeUndefined()
})

/** JSON that knows dates; remembers the envelopes it saw. */
function withDates(): CacheSerializer & { seen: unknown[] } {
  const seen: unknown[] = []
  return {
    seen,
    serialize(envelope) {
      seen.push(envelope)
      return JSON.stringify(envelope, function (this: any, name, value) {
        return this[name] instanceof Date ? { $date: this[name].getTime() } : value
      })
    },
    deserialize: (text) => JSON.parse(text, (_, value) => (typeof value?.$date === 'number' ? new Date(value.$date) : value)),
  }
}
