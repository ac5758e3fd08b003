import { describe, expect, test } from 'vitest'
import { parseDuration } from '../../../src/base/duration.js'
import { E_INVALID_OPTION } from '../../../src/base/errors.js'

const DAY = 86_400_000

describe('a duration', () => {
  test.each([0, 1, 1500.5, -5, Infinity])('%d is milliseconds, taken as they are', (ms) => {
    expect(parseDuration(ms, 'ttl')).toBe(ms)
  })

  test.each([
    ['ms msec msecs millisecond milliseconds', 1],
    ['s sec secs second seconds', 1_000],
    ['m min mins minute minutes', 60_000],
    ['h hr hrs hour hours', 3_600_000],
    ['d day days', DAY],
    ['w wk wks week weeks', 7 * DAY],
    ['y yr yrs year years', 365.25 * DAY],
  ])('may be text with any of the units %s', (units, ms) => {
    for (const unit of units.split(' ')) {
      expect(parseDuration(`3${unit}`, 'ttl'), unit).toBe(3 * ms)
      expect(parseDuration(`3 ${unit.toUpperCase()}`, 'ttl'), unit).toBe(3 * ms)
    }
  })

  test.each([
    ['10', 10],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['2   days', 2 * DAY],
    ['-1m', -60_000],
    ['0', 0],
    ['0s', 0],
  ])('%j is %d ms', (text, ms) => {
    expect(parseDuration(text, 'ttl')).toBe(ms)
  })

  test.each(['', ' ', 'banana', '1d12h', '10 parsecs', '1,5h', 's', '10s ', '1e3', 'constructor'])(
    '%j is refused, and the error names the option, what was received and what is allowed',
    (text) => {
      expect(() => parseDuration(text, 'lockTimeout')).toThrow(
        expect.objectContaining({
          code: 'E_INVALID_OPTION',
          option: 'lockTimeout',
          message: expect.stringContaining(`"lockTimeout": received ${JSON.stringify(text)}, allowed is milliseconds`),
        })
      )
    }
  )

  test.each([NaN, true, {}, [], 5n, () => 1])('%s is refused with a TypeError', (value) => {
    expect(() => parseDuration(value as never, 'ttl')).toThrow(TypeError)
    expect(() => parseDuration(value as never, 'ttl')).toThrow(E_INVALID_OPTION)
  })

  test('of a thousand different texts is as right as the first one', () => {
    for (let n = 0; n < 1_000; n++) expect(parseDuration(`${n}s`, 'ttl')).toBe(n * 1_000)
    expect(parseDuration('7s', 'ttl')).toBe(7_000)
  })
})
