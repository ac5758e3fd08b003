import { describe, expect, test } from 'vitest'
import { errors } from '../../../src/index.js'

const cause = new Error('the database is away')

describe('an error', () => {
  test.each([
    [new errors.E_FACTORY_ERROR('k', cause), 'E_FACTORY_ERROR', 'Factory has thrown an error'],
    [new errors.E_FACTORY_SOFT_TIMEOUT('k'), 'E_FACTORY_SOFT_TIMEOUT', 'Factory has timed out after waiting for soft timeout'],
    [new errors.E_FACTORY_HARD_TIMEOUT('k'), 'E_FACTORY_HARD_TIMEOUT', 'Factory has timed out after waiting for hard timeout'],
    [new errors.E_UNDEFINED_VALUE('k'), 'E_UNDEFINED_VALUE', 'Cannot set undefined value in the cache, key: k'],
    [new errors.E_L2_CACHE_ERROR(cause), 'E_L2_CACHE_ERROR', 'An error occurred while interacting with the L2 cache'],
    [new errors.E_LOCK_TIMEOUT('k'), 'E_LOCK_TIMEOUT', 'timeout while waiting for mutex to become available'],
  ])('of 1.6.1 keeps its code, message, status and spelling: %s', (error, code, message) => {
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ code, message, name: code, status: 500 })
    expect(String(error)).toBe(`${code} [${code}]: ${message}`)
    expect(Object.keys(error)).toEqual(expect.arrayContaining(['name', 'status', 'code']))
    expect((error.constructor as unknown as { code: string }).code).toBe(code)
    expect(message).toContain((error.constructor as unknown as { message: string }).message)
  })

  test('of a factory carries its key, the original, and whether anybody waited', () => {
    expect(new errors.E_FACTORY_ERROR('k', cause)).toMatchObject({ key: 'k', cause, isBackgroundFactory: false, isShared: false })
    expect(new errors.E_FACTORY_ERROR('k', cause, true)).toMatchObject({ isBackgroundFactory: true })
  })

  test('of a timeout carries its key', () => {
    expect(new errors.E_FACTORY_HARD_TIMEOUT('k').key).toBe('k')
    expect(new errors.E_FACTORY_SOFT_TIMEOUT('k').key).toBe('k')
    expect(new errors.E_LOCK_TIMEOUT('k').key).toBe('k')
  })

  test('about input is a TypeError that names what was received and what is allowed', () => {
    const option = new errors.E_INVALID_OPTION('tags', 'xy', 'an array of strings')
    expect(option).toBeInstanceOf(TypeError)
    expect(option).toMatchObject({ code: 'E_INVALID_OPTION', option: 'tags' })
    expect(option.message).toBe('Invalid option "tags": received "xy", allowed is an array of strings')
    const key = new errors.E_INVALID_KEY({})
    expect(key).toBeInstanceOf(TypeError)
    expect(key).toMatchObject({ code: 'E_INVALID_KEY' })
    expect(key.message).toContain('received an object')
  })

  test('can all be reached through `errors`', () => {
    expect(Object.keys(errors).sort()).toEqual([
      'E_FACTORY_ERROR', 'E_FACTORY_HARD_TIMEOUT', 'E_FACTORY_SOFT_TIMEOUT', 'E_INVALID_KEY', 'E_INVALID_OPTION',
      'E_L2_CACHE_ERROR', 'E_LOCK_TIMEOUT', 'E_RECURSIVE_CALL', 'E_UNDEFINED_VALUE',
    ].sort())
  })
})
