import { expect, test } from 'vitest'
import { VirtualClock, settle } from '../../support/clock.js'

test('timers fire in the order of their time, then in the order they were set', async () => {
  const clock = new VirtualClock()
  const fired: string[] = []
  clock.setTimeout(() => fired.push('late'), 20)
  clock.setTimeout(() => fired.push('first'), 10)
  clock.setTimeout(() => fired.push('second'), 10)
  await clock.advance(20)
  expect(fired).toEqual(['first', 'second', 'late'])
})

test('a timer sees the time it was set for, and a timer set by a timer fires in the same advance', async () => {
  const clock = new VirtualClock(1000)
  const seen: number[] = []
  clock.setTimeout(() => {
    seen.push(clock.now())
    clock.setTimeout(() => seen.push(clock.now()), 5)
  }, 10)
  await clock.advance(100)
  expect(seen).toEqual([1010, 1015])
  expect(clock.now()).toBe(1100)
})

test('promises settle between two timers of one millisecond', async () => {
  const clock = new VirtualClock()
  const order: string[] = []
  void clock
    .sleep(10)
    .then(() => Promise.resolve())
    .then(() => order.push('consequence of the first'))
  void clock.sleep(10).then(() => order.push('second'))
  await clock.advance(10)
  expect(order).toEqual(['consequence of the first', 'second'])
})

test('what is not due or was cleared does not fire, and pending counts what may still fire', async () => {
  const clock = new VirtualClock()
  const fired: string[] = []
  const cleared = clock.setTimeout(() => fired.push('cleared'), 5)
  clock.setTimeout(() => fired.push('not due'), 11)
  clock.clearTimeout(cleared)
  clock.clearTimeout(cleared)
  clock.clearTimeout(undefined)
  expect(clock.pending).toBe(1)
  await clock.advance(10)
  expect(fired).toEqual([])
  expect(clock.pending).toBe(1)
})

test('run jumps as far as a promise needs, and tells when nothing could settle it', async () => {
  const clock = new VirtualClock(0)
  const answer = clock.sleep(3_600_000).then(() => 'an hour later')
  expect(await clock.run(answer)).toBe('an hour later')
  expect(clock.now()).toBe(3_600_000)
  await expect(clock.run(new Promise(() => {}))).rejects.toThrow('no timer is left')
})

test('settle goes fifty promises deep', async () => {
  let depth = 0
  const dive = async (): Promise<void> => {
    if (++depth < 50) await dive()
  }
  void Promise.resolve().then(dive)
  await settle()
  expect(depth).toBe(50)
})
