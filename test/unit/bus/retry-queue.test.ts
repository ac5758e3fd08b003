import { describe, expect, test } from 'vitest'
import type { CacheBusMessage } from '../../../src/base/contract.js'
import { RetryQueue } from '../../../src/bus/retry-queue.js'
import type { RetryQueueOptions } from '../../../src/bus/retry-queue.js'
import { VirtualClock } from '../../support/clock.js'

const message = (key: string): CacheBusMessage => ({ type: 'delete', keys: [key], namespace: 'bentocache' })

function queueOf(options?: RetryQueueOptions) {
  const clock = new VirtualClock()
  const sent: string[] = []
  const world = { clock, sent, tries: 0, trouble: (_key: string): unknown => new Error('away') }
  const queue = new RetryQueue({
    clock,
    options,
    send: async ({ keys }) => {
      world.tries++
      const error = world.trouble(keys[0]!)
      if (error !== undefined) throw error
      sent.push(keys[0]!)
    },
  })
  return Object.assign(world, { queue, heal: () => (world.trouble = () => undefined) })
}

describe('messages that could not be sent', () => {
  test('are tried every 2 s, in their order, and no timer runs when none is left', async () => {
    const world = queueOf()
    for (const key of ['a', 'b', 'c']) world.queue.add(message(key))
    await world.clock.advance(1_999)
    expect(world.tries).toBe(0)
    await world.clock.advance(1)
    expect(world.tries).toBe(1) // the first failure ends the round
    world.heal()
    await world.clock.advance(2_000)
    expect(world.sent).toEqual(['a', 'b', 'c'])
    expect(world.queue.size).toBe(0)
    expect(world.clock.pending).toBe(0)
  })

  test.each([
    ['5s', 5_000],
    [300, 300],
    [null, 2_000],
    [undefined, 2_000],
  ])('are tried at the interval that was asked for: %j', async (retryInterval, ms) => {
    const world = queueOf({ retryInterval } as RetryQueueOptions)
    world.queue.add(message('a'))
    await world.clock.advance(ms - 1)
    expect(world.tries).toBe(0)
    await world.clock.advance(1)
    expect(world.tries).toBe(1)
  })

  test('wait for the reconnection alone when the interval is false', async () => {
    const world = queueOf({ retryInterval: false })
    world.queue.add(message('a'))
    expect(world.clock.pending).toBe(0)
    await world.clock.advance(3_600_000)
    expect(world.tries).toBe(0)
    world.heal()
    await world.queue.drain()
    expect(world.sent).toEqual(['a'])
  })

  test('are not kept when the queue is switched off', async () => {
    const world = queueOf({ enabled: false })
    world.queue.add(message('a'))
    expect(world.queue.size).toBe(0)
    expect(world.clock.pending).toBe(0)
  })

  test('are kept once, whatever number of times they failed', () => {
    const { queue } = queueOf()
    for (let n = 0; n < 3; n++) queue.add(message('a'))
    queue.add({ ...message('a'), type: 'set' })
    queue.add({ ...message('a'), namespace: 'bentocache:users' })
    expect(queue.size).toBe(3)
  })

  test('beyond maxSize push out the oldest: of 30 the newest 20 arrive', async () => {
    const world = queueOf({ maxSize: 20 })
    for (let n = 1; n <= 30; n++) world.queue.add(message(String(n)))
    world.heal()
    await world.queue.drain()
    expect(world.sent).toEqual(Array.from({ length: 20 }, (_, n) => String(n + 11)))
  })

  test('that can never be sent (a TypeError) are dropped, and block nobody', async () => {
    const world = queueOf()
    for (const key of ['bad', 'good']) world.queue.add(message(key))
    world.trouble = (key) => (key === 'bad' ? new TypeError('keys are texts') : undefined)
    await world.queue.drain()
    expect(world.sent).toEqual(['good'])
    expect(world.queue.size).toBe(0)
  })

  test('are sent by one round at a time', async () => {
    const world = queueOf()
    for (const key of ['a', 'b']) world.queue.add(message(key))
    world.heal()
    await Promise.all([world.queue.drain(), world.queue.drain()])
    expect(world.sent).toEqual(['a', 'b'])
  })

  test('that come while a round is under way go with it', async () => {
    const world = queueOf()
    world.queue.add(message('a'))
    world.trouble = (key) => void (key === 'a' && world.queue.add(message('b')))
    await world.queue.drain()
    expect(world.sent).toEqual(['a', 'b'])
  })

  test('are forgotten at the end, with their timer', async () => {
    const world = queueOf()
    world.queue.add(message('a'))
    world.queue.close()
    expect([world.queue.size, world.clock.pending]).toEqual([0, 0])
  })

  test.each([{ maxSize: 0 }, { maxSize: NaN }, { retryInterval: 'soon' }, { retryInterval: -1 }])('under options that mean nothing are refused: %j', (options) => {
    expect(() => queueOf(options as never)).toThrow(expect.objectContaining({ code: 'E_INVALID_OPTION', option: expect.stringContaining('retryQueue.') }))
  })
})
