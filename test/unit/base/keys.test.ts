import { describe, expect, test } from 'vitest'
import { checkKey, clean, scopeOf, under } from '../../../src/base/keys.js'

describe('keys', () => {
  test.each([
    ['app', 'app'],
    ['app::', 'app'],
    ['a:b:', 'a:b'],
    [':', ''],
    ['', ''],
    [undefined, ''],
  ])('have prefixes without the colons at their end: %j is %j', (prefix, cleaned) => {
    expect(clean(prefix)).toBe(cleaned)
  })

  test('lie below their prefix after a colon, and stand alone without one', () => {
    expect(under('app', 'k')).toBe('app:k')
    expect(under('', 'k')).toBe('k')
    expect(under('app', ':k')).toBe('app::k')
  })

  test('of a namespace begin with its path and a colon', () => {
    expect(scopeOf('users')).toBe('users:')
    expect(scopeOf('')).toBe('')
  })

  test('are texts; numbers become texts', () => {
    expect(checkKey('')).toBe('')
    expect(checkKey(42)).toBe('42')
  })

  test.each([undefined, null, true, {}, [], Symbol('k'), 5n, () => 'k'])('are nothing else: %s', (key) => {
    expect(() => checkKey(key)).toThrow(TypeError)
    expect(() => checkKey(key)).toThrow(expect.objectContaining({ code: 'E_INVALID_KEY' }))
  })
})
