import { describe, expect, test } from 'vitest'
import { tracingChannels } from '../../src/index.js'
import type { CacheOperationMessage } from '../../src/index.js'
import { throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet } from '../support/stores.js'
import type { Process } from '../support/stores.js'

const EVENTS = ['cache:hit', 'cache:miss', 'cache:written', 'cache:deleted', 'cache:cleared', 'cache:expire'] as const

/** Every `cache:*` event of the work, in order. */
async function eventsOf(bento: Process, work: () => Promise<unknown>): Promise<unknown[]> {
  const seen: unknown[] = []
  const listeners = EVENTS.map((event) => [event, (payload: unknown) => seen.push([event, payload])] as const)
  for (const [event, listener] of listeners) bento.on(event, listener)
  await work()
  await settle()
  for (const [event, listener] of listeners) bento.off(event, listener)
  return seen
}

describe.each(['L1', 'L2', 'L1+L2', 'L1+L2+bus'] as const)('%s', (shape) => {
  const store = 'main'
  const layer = shape === 'L2' ? 'l2' : 'l1'

  test('[pin 9] events carry exactly what 1.6.1\'s carry', async () => {
    const bento = new Fleet().process(shape, { ttl: '1h' })
    const value = { id: 1 }
    const ROWS: [() => Promise<unknown>, unknown[]][] = [
      [() => bento.get('k'), [['cache:miss', { key: 'k', store }]]],
      [() => bento.set('k', value), [['cache:written', { key: 'k', value, store }]]],
      [() => bento.get('k'), [['cache:hit', { key: 'k', value, store, layer, graced: false }]]],
      [() => bento.getOrSet('k', () => 0), [['cache:hit', { key: 'k', value, store, layer, graced: false }]]],
      [() => bento.getOrSet('c', () => 5), [['cache:written', { key: 'c', value: 5, store }], ['cache:miss', { key: 'c', store }]]],
      [() => bento.setForever('f', null), [['cache:written', { key: 'f', value: null, store }]]],
      [() => bento.getOrSetForever('f', () => 0), [['cache:hit', { key: 'f', value: null, store, layer, graced: false }]]],
      [() => bento.expire('k'), [['cache:expire', { key: 'k', store }]]],
      [() => bento.delete('k'), [['cache:deleted', { key: 'k', store }]]],
      [() => bento.deleteMany(['c', 'a', 'f']), ['c', 'a', 'f'].map((key) => ['cache:deleted', { key, store }])],
      [() => bento.namespace('users').set('9', 1), [['cache:written', { key: '9', value: 1, store }]]],
      [() => bento.get('users:9'), [['cache:hit', { key: 'users:9', value: 1, store, layer, graced: false }]]],
      [() => bento.clear(), [['cache:cleared', { store }]]],
      [() => bento.has('k'), []],
      [() => bento.prune(), []],
    ]
    for (const [work, events] of ROWS) expect(await eventsOf(bento, work)).toEqual(events)
  })

  test('[pin 9] cache:deleted is emitted though a suppressed L2 failed', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { suppressL2Errors: true })
    fleet.l2.ail(throwing())
    expect(await eventsOf(bento, () => bento.delete('k'))).toEqual([['cache:deleted', { key: 'k', store }]])
  })

  test('[pin 10] every verb starts and ends once, with its full key; a computed miss is three operations', async () => {
    const bento = new Fleet().process(shape, { ttl: '1h' })
    const started: CacheOperationMessage[] = []
    const ended: CacheOperationMessage[] = []
    const unused = { end() {}, asyncStart() {}, error() {} }
    const subscriber = { ...unused, start: (m: any) => void started.push({ ...m }), asyncEnd: (m: any) => void ended.push(m) }
    tracingChannels.cacheOperation.subscribe(subscriber)
    try {
      const ROWS: [() => Promise<unknown>, string[]][] = [
        [() => bento.get('k'), ['get bentocache:k']],
        [() => bento.getOrSet('k', () => 1), ['getOrSet bentocache:k', 'factory bentocache:k', 'set bentocache:k']],
        [() => bento.getOrSet('k', () => 1), ['getOrSet bentocache:k']],
        [() => bento.getOrSetForever('k', () => 1), ['getOrSet bentocache:k']],
        [() => bento.set('k', 1), ['set bentocache:k']],
        [() => bento.setForever('k', 1), ['set bentocache:k']],
        [() => bento.namespace('users').set('123', 1), ['set bentocache:users:123']],
        [() => bento.delete('k'), ['delete bentocache:k']],
        [() => bento.deleteMany(['a', 'b']), ['deleteMany bentocache:a,bentocache:b']],
        [() => bento.expire('k'), ['expire bentocache:k']],
        [() => bento.clear(), ['clear undefined']],
        [() => bento.has('k'), []],
        [() => bento.deleteByTag(['t']), []],
        [() => bento.set('k', undefined).catch(() => undefined), []],
      ]
      for (const [work, operations] of ROWS) {
        started.length = ended.length = 0
        await work()
        await settle()
        const names = (messages: CacheOperationMessage[]) => messages.map((m) => `${m.operation} ${m.key ?? m.keys}`)
        expect(names(started)).toEqual(operations)
        expect(names(ended).toSorted()).toEqual(operations.toSorted())
        expect(ended.every((message) => message.store === 'main')).toBe(true)
      }
    } finally {
      tracingChannels.cacheOperation.unsubscribe(subscriber)
    }
  })
})

describe('a failing L2', () => {
  test('[pin 11] with a breaker is asked once by three reads, and once more when its time is over', async () => {
    for (const suppressL2Errors of [true, false]) {
      const fleet = new Fleet()
      const bento = fleet.process('L1+L2', { l2CircuitBreakerDuration: '1s', suppressL2Errors })
      fleet.l2.ail(throwing(new Error('refused')))
      const read = () => bento.get('k').catch((error) => error.code)
      const answer = suppressL2Errors ? undefined : 'E_L2_CACHE_ERROR'
      for (let i = 0; i < 3; i++) expect(await read()).toBe(answer)
      expect(fleet.l2.calls.get).toBe(1)
      await fleet.clock.advance(999)
      await read()
      expect(fleet.l2.calls.get).toBe(1)
      await fleet.clock.advance(1)
      expect(await read()).toBe(answer)
      expect(fleet.l2.calls.get).toBe(2)
    }
  })

  test('[pin 11] without a breaker is asked each time', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2')
    fleet.l2.ail(throwing(new Error('refused')))
    for (let i = 0; i < 3; i++) expect(await bento.get('k')).toBeUndefined()
    expect(fleet.l2.calls.get).toBe(3)
  })
})
