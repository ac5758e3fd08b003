import { describe, expect, test } from 'vitest'
import { Settings } from '../../../src/base/settings.js'
import { patience } from '../../../src/flight/patience.js'

const settings = (raw: object) => new Settings().overlay({ timeout: null, ...raw })

/** Every combination of who waits and for what, with the bound that ends the wait. */
describe('a caller waits', () => {
  test.each([
    // stale value, leading, options → ms, then
    [true, true, { timeout: 0 }, 0, 'stale'],
    [true, false, { timeout: 0 }, 0, 'stale'],
    [true, false, { timeout: 0, lockTimeout: 5 }, 0, 'stale'],
    [true, true, { timeout: 20 }, 20, 'stale'],
    [true, false, { timeout: 20 }, 20, 'stale'],
    [true, false, { timeout: 20, lockTimeout: 5 }, 5, 'stale'],
    [true, false, { timeout: 20, lockTimeout: 50 }, 20, 'stale'],
    [true, true, { timeout: 20, hardTimeout: 5 }, 20, 'stale'],
    [true, true, { hardTimeout: 30 }, 30, 'stale'],
    [true, false, { hardTimeout: 30 }, 30, 'stale'],
    [true, true, {}, Infinity, 'stale'],
    [true, true, { lockTimeout: 5 }, Infinity, 'stale'],
    [true, false, { lockTimeout: 5 }, 5, 'stale'],
    [false, true, {}, Infinity, 'stale'],
    [false, true, { timeout: 0 }, Infinity, 'stale'],
    [false, true, { timeout: 20 }, Infinity, 'stale'],
    [false, true, { hardTimeout: 30 }, 30, 'hard'],
    [false, false, { hardTimeout: 30 }, 30, 'hard'],
    [false, true, { lockTimeout: 5 }, Infinity, 'stale'],
    [false, false, { lockTimeout: 5 }, 5, 'lock'],
    [false, false, { lockTimeout: 5, hardTimeout: 30 }, 5, 'lock'],
    [false, false, { lockTimeout: 50, hardTimeout: 30 }, 30, 'hard'],
  ] as const)('with a stale value: %s, leading: %s, options %j: %d ms, then %s', (hasFallback, isLeading, raw, ms, then) => {
    const bound = patience(settings(raw), hasFallback, isLeading)
    expect(bound.ms).toBe(ms)
    if (ms < Infinity) expect(bound.then).toBe(then)
  })
})
