import { afterEach, describe, expect, test, vi } from 'vitest'
import { BentoCache, bentostore } from '../../src/index.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'

afterEach(() => void vi.useRealTimers())

const inMemory = (options: object = {}) => new BentoCache({ ...options, default: 'main', stores: { main: bentostore().useL1Layer(memoryDriver()) } })

describe('[R11] time that a test fakes after the import', () => {
  test('reaches what the cache thinks is fresh', async () => {
    const bento = inMemory({ ttl: '10s', grace: '1m' })
    vi.useFakeTimers({ now: 1_000_000_000_000 })
    await bento.set('k', 'v')
    vi.advanceTimersByTime(9_999)
    expect(await bento.has('k')).toBe(true)
    vi.advanceTimersByTime(1)
    expect(await bento.has('k')).toBe(false)
    expect(await bento.get('k')).toBe('v')
    vi.setSystemTime(1_000_000_060_000)
    expect(await bento.get('k')).toBeUndefined()
  })

  test('reaches its timeouts', async () => {
    const bento = inMemory({ ttl: '10s', grace: '1h', timeout: '2s', hardTimeout: '5s' })
    vi.useFakeTimers({ now: 1_000_000_000_000 })
    await bento.set('k', 'old')
    vi.advanceTimersByTime(10_000)
    const never = () => new Promise<string>(() => {})
    const soft = bento.getOrSet('k', never)
    const hard = bento.getOrSet('other', never).catch((error) => error.code)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(await soft).toBe('old')
    await vi.advanceTimersByTimeAsync(3_000)
    expect(await hard).toBe('E_FACTORY_HARD_TIMEOUT')
  })

  test('is not needed where a clock is given: two caches may live in different years', async () => {
    const clockAt = (now: number) => ({ now: () => now, setTimeout: () => 0, clearTimeout: () => {} })
    const [past, future] = [inMemory({ clock: clockAt(0) }), inMemory({ clock: clockAt(4e12) })]
    await past.set('k', 'v', { ttl: 1 })
    await future.set('k', 'v', { ttl: 1 })
    expect([await past.get('k'), await future.get('k')]).toEqual(['v', 'v'])
  })
})
