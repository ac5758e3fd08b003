import { afterEach, describe, expect, test, vi } from 'vitest'
import { Flight } from '../../../src/flight/flights.js'
import { Recursion } from '../../../src/flight/recursion.js'
import { collectGarbage } from '../../support/gc.js'

const flightOf = (key: string) => new Flight(key, 0, false, 0)

afterEach(() => void vi.restoreAllMocks())

describe('inside whose factory a call is made', () => {
  test('is known in the factory, across its awaits, and nowhere else', async () => {
    const recursion = new Recursion()
    const flight = flightOf('a')
    const seen: unknown[] = []
    const run = recursion.run(flight, async () => {
      seen.push(recursion.current())
      await new Promise((resolve) => setImmediate(resolve))
      seen.push(recursion.current())
    })
    expect(recursion.current()).toBeUndefined()
    await run
    expect(seen).toEqual([flight, flight])
    expect(recursion.current()).toBeUndefined()
  })

  test('is the innermost of several, also when they run at once', async () => {
    const recursion = new Recursion()
    const [a, b, c] = ['a', 'b', 'c'].map(flightOf) as [Flight, Flight, Flight]
    const seen: unknown[] = []
    const pause = () => new Promise((resolve) => setImmediate(resolve))
    await Promise.all([
      recursion.run(a, async () => {
        await recursion.run(b, async () => void seen.push(recursion.current()))
        await pause()
        seen.push(recursion.current())
      }),
      recursion.run(c, async () => {
        await pause()
        await pause()
        seen.push(recursion.current())
      }),
    ])
    expect(seen).toEqual([b, a, c])
  })

  test('is not known any more once every factory is through: the process pays for it only while one runs', async () => {
    const recursion = new Recursion()
    let escaped: Promise<unknown> | undefined
    await recursion.run(flightOf('a'), async () => {
      escaped = new Promise((resolve) => setImmediate(() => resolve(recursion.current())))
    })
    expect(await escaped).toBeUndefined()
  })

  test('is not known where there is no AsyncLocalStorage, and everything works', async () => {
    vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined as never)
    const recursion = new Recursion()
    expect(await recursion.run(flightOf('a'), async () => recursion.current() ?? 'unknown')).toBe('unknown')
  })

  test('does not swallow what the factory rejects with', async () => {
    await expect(new Recursion().run(flightOf('a'), () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  })
})

test('no flight is held on to once its factory has ended', async () => {
  const recursion = new Recursion()
  const fly = async () => {
    const flight = flightOf('key')
    await recursion.run(flight, async () => {})
    return new WeakRef(flight)
  }
  const flown = await fly()
  await new Promise((resolve) => setImmediate(resolve))
  collectGarbage()
  expect(flown.deref()).toBeUndefined()
})
