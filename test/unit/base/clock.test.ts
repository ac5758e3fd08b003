import { afterEach, describe, expect, test, vi } from 'vitest'
import { after, sleep, systemClock } from '../../../src/base/clock.js'
import { LATE, within } from '../../../src/base/promises.js'
import { VirtualClock } from '../../support/clock.js'

const DAY = 86_400_000

afterEach(() => void vi.useRealTimers())

describe('a wait', () => {
  test('[R1] longer than a timer can take is never early, and leaves one timer at a time', async () => {
    const clock = new OverflowingClock()
    let calls = 0
    after(clock, 60 * DAY, () => calls++)
    await clock.advance(60 * DAY - 1)
    expect(calls).toBe(0)
    expect(clock.pending).toBe(1)
    await clock.advance(1)
    expect(calls).toBe(1)
    expect(clock.pending).toBe(0)
  })

  test('of any length can be stopped, and leaves no timer', async () => {
    const clock = new OverflowingClock()
    let calls = 0
    const stop = after(clock, 60 * DAY, () => calls++)
    await clock.advance(40 * DAY)
    stop()
    expect(clock.pending).toBe(0)
    await clock.advance(60 * DAY)
    expect(calls).toBe(0)
  })

  test('that a blocked event loop made late lets the sockets be read first', async () => {
    const clock = new VirtualClock()
    const heard: string[] = []
    const stop = after(clock, 100, () => heard.push('late'))
    clock.block(1_000)
    // What a socket delivers in the turn after the timers: whoever waited for it stops the wait.
    clock.setTimeout(() => (heard.push('answer'), stop()), 1)
    await clock.advance(10)
    expect(heard).toEqual(['answer'])
    expect(clock.pending).toBe(0)
  })

  test('that a blocked event loop made late is over two turns later', async () => {
    const clock = new VirtualClock()
    let calls = 0
    after(clock, 100, () => calls++)
    clock.block(1_000)
    await clock.advance(1)
    expect(calls).toBe(0)
    await clock.advance(1)
    expect(calls).toBe(1)
  })

  test('without end sets no timer', () => {
    const clock = new VirtualClock()
    after(clock, Infinity, () => {})
    expect(clock.pending).toBe(0)
  })

  test('of a negative length is over at once', async () => {
    const clock = new VirtualClock()
    const slept = sleep(clock, -5).then(() => 'awake')
    await clock.advance(0)
    expect(await slept).toBe('awake')
  })

  test('[R11] asks for the time when it needs it: time faked after the import reaches the clock', () => {
    vi.useFakeTimers({ now: 1_000_000 })
    let calls = 0
    systemClock.setTimeout(() => calls++, 5_000)
    expect(systemClock.now()).toBe(1_000_000)
    vi.advanceTimersByTime(5_000)
    expect(systemClock.now()).toBe(1_005_000)
    expect(calls).toBe(1)
  })

  test('on the machine\'s clock keeps no process alive', () => {
    const handle = systemClock.setTimeout(() => {}, 1_000) as NodeJS.Timeout
    expect(handle.hasRef()).toBe(false)
    systemClock.clearTimeout(handle)
  })
})

describe('a bounded wait', () => {
  test('gives the outcome of what settles in time, and leaves no timer', async () => {
    const clock = new VirtualClock()
    expect(await within(clock, Promise.resolve(5), 100)).toBe(5)
    await expect(within(clock, Promise.reject(new Error('no')), 100)).rejects.toThrow('no')
    expect(clock.pending).toBe(0)
  })

  test('is LATE once the time is over, not before', async () => {
    const clock = new VirtualClock()
    const outcomes: unknown[] = []
    void within(clock, new Promise(() => {}), 100).then((outcome) => outcomes.push(outcome))
    await clock.advance(99)
    expect(outcomes).toEqual([])
    await clock.advance(1)
    expect(outcomes).toEqual([LATE])
  })

  test('without a bound is the promise itself', () => {
    const promise = Promise.resolve()
    expect(within(new VirtualClock(), promise, Infinity)).toBe(promise)
  })
})

/** Does what Node does: a delay above 2^31 - 1 ms fires after 1 ms. */
class OverflowingClock extends VirtualClock {
  override setTimeout(callback: () => void, delay: number): unknown {
    return super.setTimeout(callback, delay > 2 ** 31 - 1 ? 1 : delay)
  }
}
