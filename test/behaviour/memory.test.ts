import { describe, expect, test } from 'vitest'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import type { MemoryConfig } from '../../src/drivers/memory/memory.js'
import { Fleet } from '../support/stores.js'

const DAY = 86_400_000

/** An L1 store and how many bytes an entry of that value takes in it. */
function setup(memory: MemoryConfig, options: object = {}) {
  const fleet = new Fleet()
  const bento = fleet.process('L1', { memory, ttl: null, ...options })
  return { fleet, bento }
}

const sizeOf = (value: unknown) => Buffer.byteLength(JSON.stringify({ value, createdAt: 1_700_000_000_000, logicalExpiration: 9_999_999_999_999 }))

describe('memory', () => {
  test('[pin 18] holds maxItems entries; the one not used for the longest time leaves first', async () => {
    const { bento } = setup({ maxItems: 3 })
    for (const key of ['a', 'b', 'c']) await bento.set(key, key)
    await bento.get('a')
    await bento.set('d', 'd')
    expect(await Promise.all(['a', 'b', 'c', 'd'].map((key) => bento.has(key)))).toEqual([true, false, true, true])
  })

  test('[pin 18] holds 1,000 entries unless told otherwise', async () => {
    const { bento } = setup({})
    for (let n = 0; n <= 1_000; n++) await bento.set(`k${n}`, n)
    expect([await bento.has('k0'), await bento.has('k1'), await bento.has('k1000')]).toEqual([false, true, true])
  })

  test('[pin 18] holds maxSize bytes of text, counted as UTF-8', async () => {
    const value = '日'.repeat(20)
    const { bento } = setup({ maxSize: 2 * sizeOf(value) })
    for (const key of ['a', 'b']) expect(await bento.set(key, value)).toBe(true)
    expect([await bento.has('a'), await bento.has('b')]).toEqual([true, true])
    await bento.set('c', value)
    expect(await Promise.all(['a', 'b', 'c'].map((key) => bento.has(key)))).toEqual([false, true, true])
  })

  test('[pin 18] sizes may be text', async () => {
    const { bento } = setup({ maxSize: '1kb', maxEntrySize: '0.5kb' })
    expect(await bento.set('small', 'x')).toBe(true)
    expect(await bento.set('large', 'x'.repeat(600))).toBe(false)
    for (let n = 0; n < 20; n++) await bento.set(`k${n}`, 'x'.repeat(100))
    expect(await bento.has('small')).toBe(false)
    expect(await bento.has('k19')).toBe(true)
  })

  test('[50] [pin 18] maxEntrySize works alone, and is inclusive', async () => {
    const { bento } = setup({ maxEntrySize: sizeOf('fits') })
    expect(await bento.set('k', 'fits')).toBe(true)
    expect(await bento.get('k')).toBe('fits')
    expect(await bento.set('k', 'fits not')).toBe(false)
    expect(await bento.get('k')).toBeUndefined() // the older one would be wrong now
  })

  test('[50] a value too large for L1 is kept by L2 alone, and set says whether a tier keeps it', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { memory: { maxEntrySize: 100 } })
    const large = 'x'.repeat(1_000)
    expect(await bento.set('k', large)).toBe(true)
    fleet.l2.resetCalls()
    expect(await bento.get('k')).toBe(large)
    expect(await bento.get('k')).toBe(large)
    expect(fleet.l2.calls.get).toBe(2)
    expect(await bento.set('here', large, { skipL2Write: true })).toBe(false)
    expect(await bento.set('here', 'small', { skipL2Write: true })).toBe(true)
    const { bento: alone } = setup({ maxEntrySize: 100 })
    expect(await alone.set('k', large)).toBe(false)
    expect(await alone.getOrSet('k', () => large)).toBe(large)
  })

  test.each([{ maxSize: 1000 }, { maxEntrySize: 1000 }])('[pin 18] by reference weighs nothing, so a size is refused: %j', (sizes) => {
    expect(() => setup({ serialize: false, ...sizes })).toThrow(
      expect.objectContaining({
        code: 'E_INVALID_ARGUMENTS_EXCEPTION',
        message: 'Cannot use maxSize or maxEntrySize when serialize is set to `false`',
      })
    )
  })

  test.each([
    [{ maxItems: 0 }, 'maxItems'],
    [{ maxItems: -1 }, 'maxItems'],
    [{ maxItems: 1.5 }, 'maxItems'],
    [{ maxSize: 'big' }, 'maxSize'],
    [{ maxSize: 0 }, 'maxSize'],
    [{ maxEntrySize: '1 potato' }, 'maxEntrySize'],
    [{ maxTtl: 'soon' }, 'maxTtl'],
  ])('is refused bounds that mean nothing, by name: %j', (memory, option) => {
    expect(() => setup(memory)).toThrow(expect.objectContaining({ code: 'E_INVALID_OPTION', option }))
  })

  test('is one for all views of a store: namespaces share its bound', async () => {
    const { bento } = setup({ maxItems: 2 })
    await bento.set('a', 1)
    await bento.namespace('x').set('b', 1)
    await bento.namespace('y').set('c', 1)
    expect(await bento.has('a')).toBe(false)
    expect([await bento.has('x:b'), await bento.has('y:c')]).toEqual([true, true])
  })

  test('is each store\'s own: one description used twice makes two', async () => {
    const { BentoCache, bentostore } = await import('../../src/index.js')
    const driver = memoryDriver()
    const bento = new BentoCache({ default: 'a', stores: { a: bentostore().useL1Layer(driver), b: bentostore().useL1Layer(driver) } })
    await bento.use('a').set('k', 'v')
    expect(await bento.use('b').get('k')).toBeUndefined()
  })

  test('keeps what lives longer than a timer can count', async () => {
    const { fleet, bento } = setup({})
    await bento.set('k', 'v', { ttl: '60 days' })
    await fleet.clock.advance(60 * DAY - 1)
    expect(await bento.get('k')).toBe('v')
    await fleet.clock.advance(1)
    expect(await bento.get('k')).toBeUndefined()
    expect(fleet.clock.pending).toBe(0)
  })

  test('[36] without a prefix is cleared as a whole', async () => {
    for (const prefix of ['', undefined]) {
      const { bento } = setup({}, { prefix })
      await bento.set('k', 'v')
      await bento.namespace('users').set('1', 'v')
      await bento.clear()
      expect([await bento.has('k'), await bento.has('users:1')]).toEqual([false, false])
    }
  })

  test.each([
    ['a*', 'abc'],
    ['a?', 'ab'],
    ['u[1]', 'u1'],
    ['a_b', 'axb'],
    ['a%', 'abc'],
    ['a\\', 'a'],
    ['(a|b)+', 'a'],
    ['users', 'usersAbc'],
  ])('[37] of a namespace called %s is cleared, and that of %s is spared: a name is no pattern', async (name, other) => {
    for (const shape of ['L1', 'L2', 'L1+L2'] as const) {
      const bento = new Fleet().process(shape)
      await bento.namespace(name).set('k', 'v')
      await bento.namespace(name).namespace('deep').set('k', 'v')
      await bento.namespace(other).set('k', 'v')
      await bento.namespace(name).clear()
      expect(await bento.namespace(name).has('k')).toBe(false)
      expect(await bento.namespace(name).namespace('deep').has('k')).toBe(false)
      expect(await bento.namespace(other).has('k')).toBe(true)
    }
  })
})

describe('the memory driver itself', () => {
  const driver = (config: object = {}) => memoryDriver().factory({ prefix: 'app', ...config }) as any

  test('keeps text under its prefix, says how long yet, and gives it back', async () => {
    const fleet = new Fleet()
    const l1 = driver({ clock: fleet.clock })
    expect(l1.set('k', 'text', 1_000)).toBe(true)
    expect([l1.get('k'), l1.getRemainingTtl('k')]).toEqual(['text', 1_000])
    await fleet.clock.advance(400)
    expect(l1.getRemainingTtl('k')).toBe(600)
    await fleet.clock.advance(600)
    expect([l1.get('k'), l1.getRemainingTtl('k'), l1.getRemainingTtl('never')]).toEqual([undefined, 0, 0])
    l1.set('ever', 'text')
    l1.set('zero', 'text', 0)
    expect([l1.getRemainingTtl('ever'), l1.getRemainingTtl('zero')]).toEqual([Infinity, Infinity])
  })

  test('pulls, deletes and clears what it has', () => {
    const l1 = driver()
    l1.set('k', 'text')
    expect([l1.pull('k'), l1.pull('k')]).toEqual(['text', undefined])
    l1.set('k', 'text')
    expect([l1.delete('k'), l1.delete('k')]).toEqual([true, false])
    l1.set('a', 'text')
    expect([l1.deleteMany(['a', 'b']), l1.deleteMany([]), l1.get('a')]).toEqual([true, true, undefined])
    const child = l1.namespace('users')
    child.set('1', 'text')
    expect(l1.get('users:1')).toBe('text')
    l1.set('usersAbc:1', 'text')
    child.clear()
    expect([l1.get('users:1'), l1.get('usersAbc:1')]).toEqual([undefined, 'text'])
    l1.clear()
    expect(l1.get('usersAbc:1')).toBeUndefined()
  })
})
