import { describe, expect, test } from 'vitest'
import { E_INVALID_OPTION } from '../../../src/base/errors.js'
import { Settings } from '../../../src/base/settings.js'

const defaults = new Settings()

describe('settings', () => {
  test('have the documented defaults', () => {
    expect({ ...defaults }).toEqual({
      ttl: 30 * 60_000,
      grace: 0,
      graceBackoff: 10_000,
      timeout: 0,
      hardTimeout: Infinity,
      lockTimeout: Infinity,
      lockAge: 30_000,
      l2Timeout: 1_000,
      l2TimeoutWithCopy: 100,
      suppressL2Errors: undefined,
      sharesFailures: true,
      onFactoryError: undefined,
    })
  })

  test('are the same object under options that set nothing', () => {
    expect(defaults.overlay(undefined)).toBe(defaults)
    expect(defaults.overlay({})).toBe(defaults)
    expect(defaults.overlay({ ttl: undefined, grace: undefined } as never)).toBe(defaults)
    expect(defaults.overlay({ key: 'k', tags: ['a'], forceFresh: true } as never)).toBe(defaults)
  })

  test('are shared by calls that pass the same options, and never changed', () => {
    const base = new Settings()
    const one = base.overlay({ ttl: '1m' })
    expect(base.overlay({ ttl: '1m' })).toBe(one)
    const other = base.overlay({ ttl: '2m' })
    expect(base.overlay({ ttl: '1m' })).not.toBe(other)
    expect([base.ttl, one.ttl, other.ttl]).toEqual([30 * 60_000, 60_000, 120_000])
  })

  test('are refused as often as they are asked for, whatever was asked for before', () => {
    const base = new Settings()
    base.overlay({ ttl: '1m' })
    for (let n = 0; n < 3; n++) expect(() => base.overlay({ ttl: 'banana' })).toThrow(E_INVALID_OPTION)
    expect(base.overlay({ ttl: '1m' }).ttl).toBe(60_000)
  })

  test('of a later level win, option by option', () => {
    const store = defaults.overlay({ ttl: '1h', grace: '6h', timeout: 200 }).overlay({ ttl: '2h' })
    const call = store.overlay({ timeout: null, suppressL2Errors: false })
    expect(call).toMatchObject({ ttl: 7_200_000, grace: 21_600_000, timeout: Infinity, suppressL2Errors: false })
    expect(store).toMatchObject({ timeout: 200, suppressL2Errors: undefined })
  })

  test('never lose a value to an explicit undefined', () => {
    const store = defaults.overlay({ ttl: '1h', onFactoryError: () => {} })
    const call = store.overlay({ ttl: undefined, onFactoryError: undefined, grace: '1m' } as never)
    expect(call.ttl).toBe(3_600_000)
    expect(call.onFactoryError).toBe(store.onFactoryError)
  })

  test.each([
    [{ ttl: null }, { ttl: Infinity }],
    [{ ttl: Infinity }, { ttl: Infinity }],
    [{ ttl: 0 }, { ttl: 0 }],
    [{ ttl: '0s' }, { ttl: 0 }],
    [{ ttl: -5 }, { ttl: 0 }],
    [{ ttl: 1500.5 }, { ttl: 1501 }],
    [{ grace: false }, { grace: 0 }],
    [{ grace: null }, { grace: 0 }],
    [{ grace: 0 }, { grace: 0 }],
    [{ grace: '6h' }, { grace: 21_600_000 }],
    [{ graceBackoff: null }, { graceBackoff: 0 }],
    [{ graceBackoff: '5s' }, { graceBackoff: 5_000 }],
    [{ timeout: null }, { timeout: Infinity }],
    [{ timeout: 0 }, { timeout: 0 }],
    [{ hardTimeout: null }, { hardTimeout: Infinity }],
    [{ hardTimeout: 0 }, { hardTimeout: Infinity }],
    [{ lockTimeout: 0 }, { lockTimeout: Infinity }],
    [{ lockTimeout: '1s' }, { lockTimeout: 1_000 }],
    [{ lockAge: null }, { lockAge: Infinity }],
    [{ l2Timeout: null }, { l2Timeout: Infinity, l2TimeoutWithCopy: Infinity }],
    [{ l2Timeout: 250 }, { l2Timeout: 250, l2TimeoutWithCopy: 250 }],
    [{ shareFailures: 'off' }, { sharesFailures: false }],
  ] as const)('read %j as %j', (raw, resolved) => {
    expect(defaults.overlay(raw as never)).toMatchObject(resolved)
  })

  test.each([
    [{ ttl: NaN }, 'ttl'],
    [{ ttl: 'banana' }, 'ttl'],
    [{ grace: true }, 'grace'],
    [{ grace: 'long' }, 'grace'],
    [{ graceBackoff: -1 }, 'graceBackoff'],
    [{ timeout: '-1s' }, 'timeout'],
    [{ hardTimeout: {} }, 'hardTimeout'],
    [{ lockTimeout: NaN }, 'lockTimeout'],
    [{ lockAge: 'old' }, 'lockAge'],
    [{ l2Timeout: -5 }, 'l2Timeout'],
    [{ shareFailures: 'everybody' }, 'shareFailures'],
  ])('refuse %j by name', (raw, option) => {
    const overlay = () => new Settings().overlay(raw as never)
    expect(overlay).toThrow(E_INVALID_OPTION)
    expect(overlay).toThrow(expect.objectContaining({ code: 'E_INVALID_OPTION', option }))
  })
})
