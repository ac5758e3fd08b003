import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Codec, expireText } from '../../../src/base/entry.js'

const CREATED = 1_795_408_738_976
const FRESH_UNTIL = 1_795_410_538_976
const TAIL = `"createdAt":${CREATED},"logicalExpiration":${FRESH_UNTIL}}`

/** What 1.6.1 has stored; both of its spellings must be readable for ever. */
const STORED = {
  set: '{"value":"v","logicalExpiration":1795410538976,"tags":[],"createdAt":1795408738976}',
  rewritten: '{"value":"v","createdAt":1795409739176,"logicalExpiration":1795409739078,"tags":["a"]}',
  mark: '{"value":1795408739167,"logicalExpiration":1796272739167,"tags":[],"createdAt":1795408739167}',
}

describe('an envelope of 1.6.1', () => {
  const codec = new Codec()

  test('as `set` spells it is read whole', () => {
    const entry = codec.decode(STORED.set)!
    expect(entry).toMatchObject({ createdAt: CREATED, freshUntil: FRESH_UNTIL, tags: [] })
    expect(codec.open(entry)).toBe('v')
  })

  test('as promotion, expire and back-off spell it is read whole', () => {
    const entry = codec.decode(STORED.rewritten)!
    expect(entry).toMatchObject({ createdAt: 1_795_409_739_176, freshUntil: 1_795_409_739_078, tags: ['a'] })
    expect(codec.open(entry)).toBe('v')
  })

  test('that marks a tag carries its time as its value', () => {
    expect(codec.open(codec.decode(STORED.mark)!)).toBe(1_795_408_739_167)
  })

  test('with nothing but a value is fresh for ever, and no tag can hit it', () => {
    const entry = codec.decode('{"value":"bar"}')!
    expect(entry).toMatchObject({ createdAt: undefined, freshUntil: Infinity, tags: [] })
    expect(codec.open(entry)).toBe('bar')
  })

  test('whose expiry is null (an Infinity that JSON lost) is stale at once', () => {
    expect(codec.decode('{"value":1,"logicalExpiration":null,"createdAt":5}')!.freshUntil).toBe(0)
  })

  test('of a function that was stored reads as undefined', () => {
    const entry = codec.decode('{"logicalExpiration":1795410538976,"tags":[],"createdAt":1795408738976}')!
    expect(codec.open(entry)).toBeUndefined()
  })

  test('with fields we do not know is read all the same', () => {
    expect(codec.open(codec.decode('{"value":{"a":[1]},"future":true,"createdAt":5}')!)).toEqual({ a: [1] })
  })
})

describe('what is no envelope', () => {
  test.each(['', '{', 'null', '42', '"text"', '[]', '{}', '{"a":1}', 'L|term|attempt'])('%j is recognised', (text) => {
    expect(new Codec().decode(text)).toBeUndefined()
  })

  test('with a serializer of one\'s own is recognised too, whatever that throws', () => {
    const serializer = {
      serialize: JSON.stringify,
      deserialize: () => {
        throw new Error('not mine')
      },
    }
    expect(new Codec({ serializer }).decode('{"value":1}')).toBeUndefined()
  })
})

describe('an envelope of ours', () => {
  const codec = new Codec()

  test('ends in a tail of exactly 60 bytes, times last', () => {
    expect(codec.encode('v', CREATED, FRESH_UNTIL, [])).toBe(`{"value":"v",${TAIL}`)
    expect(TAIL).toHaveLength(60)
  })

  test('names its tags only if it has some', () => {
    expect(codec.encode({ n: 1 }, CREATED, FRESH_UNTIL, ['a', 'b"'])).toBe(`{"value":{"n":1},"tags":["a","b\\""],${TAIL}`)
  })

  test('says "for ever" with the largest time of 13 digits', () => {
    const text = codec.encode(null, CREATED, Infinity, [])
    expect(text).toBe(`{"value":null,"createdAt":${CREATED},"logicalExpiration":9999999999999}`)
    expect(codec.decode(text)!.freshUntil).toBe(Infinity)
  })

  test('of a function has no value, as 1.6.1 stores it', () => {
    expect(codec.encode(() => {}, CREATED, FRESH_UNTIL, [])).toBe(`{${TAIL}`)
    expect(codec.open(codec.decode(`{${TAIL}`)!)).toBeUndefined()
  })

  test('holds whole milliseconds, rounded up', () => {
    expect(codec.encode(1, CREATED - 0.5, FRESH_UNTIL - 0.5, [])).toBe(`{"value":1,${TAIL}`)
  })

  test('goes through the serializer as a whole, once', () => {
    const seen: unknown[] = []
    const serializer = { serialize: (v: unknown) => (seen.push(v), 'text'), deserialize: JSON.parse }
    const text = new Codec({ serializer }).encode('v', CREATED, FRESH_UNTIL, ['a'])
    expect(text).toBe('text')
    expect(seen).toEqual([{ value: 'v', tags: ['a'], createdAt: CREATED, logicalExpiration: FRESH_UNTIL }])
  })

  test('of a BigInt or a cycle throws what JSON throws', () => {
    const cycle: unknown[] = []
    cycle.push(cycle)
    expect(() => codec.encode(5n, 1, 2, [])).toThrow(TypeError)
    expect(() => codec.encode(cycle, 1, 2, [])).toThrow(TypeError)
  })

  test('of any JSON value gives it back, as JSON has it, by every road', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.array(fc.string(), { maxLength: 3 }), (value, tags) => {
        const expected = JSON.parse(JSON.stringify(value))
        const text = codec.encode(value, CREATED, FRESH_UNTIL, tags)
        expect(JSON.parse(text)).toEqual({
          value: expected, createdAt: CREATED, logicalExpiration: FRESH_UNTIL, ...(tags.length > 0 && { tags }),
        })
        for (const entry of [codec.decode(text)!, codec.entryOf(value, text, CREATED, FRESH_UNTIL, tags)]) {
          expect(entry).toMatchObject({ createdAt: CREATED, freshUntil: FRESH_UNTIL, tags })
          expect(codec.open(entry)).toEqual(expected)
          expect(codec.open(entry)).toEqual(expected)
        }
      }),
      { numRuns: 300 }
    )
  })
})

describe('the values of an entry', () => {
  const value = { deep: { list: [{ n: 1 }] } }

  test('are a copy for each reader, of what was written and of what was read', () => {
    const codec = new Codec()
    const text = codec.encode(value, CREATED, FRESH_UNTIL, [])
    for (const entry of [codec.decode(text)!, codec.entryOf(value, text, CREATED, FRESH_UNTIL, [])]) {
      const first = codec.open(entry) as typeof value
      first.deep.list[0]!.n = 2
      first.deep.list.push({ n: 3 })
      expect(codec.open(entry)).toEqual({ deep: { list: [{ n: 1 }] } })
    }
  })

  test('are one reference for all in a store that hands out references', () => {
    const codec = new Codec({ byReference: true })
    const written = codec.entryOf(value, undefined, CREATED, FRESH_UNTIL, [])
    expect(codec.open(written)).toBe(value)
    const read = codec.decode(codec.encode(value, CREATED, FRESH_UNTIL, []))!
    expect(codec.open(read)).toBe(codec.open(read))
  })

  test('keep an own __proto__ an own property, and nobody\'s prototype', () => {
    const codec = new Codec()
    const entry = codec.decode(`{"value":{"__proto__":{"isAdmin":true}},"createdAt":1,"logicalExpiration":2}`)!
    const opened = codec.open(entry) as Record<string, unknown>
    expect(Object.getPrototypeOf(opened)).toBe(Object.prototype)
    expect(opened.isAdmin).toBeUndefined()
    expect(Object.keys(opened)).toEqual(['__proto__'])
  })

  test.each([NaN, Infinity, -Infinity, -0])('such as %o become what their text says, for every reader', (number) => {
    const codec = new Codec()
    const text = codec.encode(number, CREATED, FRESH_UNTIL, [])
    const entry = codec.entryOf(number, text, CREATED, FRESH_UNTIL, [])
    expect(codec.open(entry)).toEqual(codec.open(codec.decode(text)!))
  })
})

describe('expiring a text', () => {
  test.each([
    [STORED.set, `{"value":"v","tags":[],"createdAt":${CREATED},"logicalExpiration":77}`],
    [STORED.rewritten, '{"value":"v","tags":["a"],"createdAt":1795409739176,"logicalExpiration":77}'],
    ['{"value":"bar"}', '{"value":"bar","createdAt":0,"logicalExpiration":77}'],
  ])('changes nothing but its freshness: %s', (text, expired) => {
    const got = expireText(text, 77, undefined)!
    expect(JSON.parse(got)).toEqual(JSON.parse(expired))
    expect(got.endsWith('"logicalExpiration":77}')).toBe(true)
  })

  test.each(['', 'x', 'null', '1'])('that is no envelope (%j) is refused', (text) => {
    expect(expireText(text, 77, undefined)).toBeUndefined()
  })
})
