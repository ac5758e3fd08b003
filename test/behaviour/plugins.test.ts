import { describe, expect, test } from 'vitest'
import { BentoCache, bentostore, tracingChannels } from '../../src/index.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import type { BentoCachePlugin } from '../../src/types.js'
import { settle } from '../support/clock.js'
import { Fleet, Work } from '../support/stores.js'

/** Counts as the published Prometheus plugin does: by events alone, for all that it is given. */
function metrics() {
  const counts: Record<string, number> = {}
  const count = (name: string, by = 1) => void (counts[name] = (counts[name] ?? 0) + by)
  const plugin: BentoCachePlugin = {
    register(bento) {
      bento.on('cache:hit', ({ graced, layer, store }) => count(`${graced ? 'graced_hits' : 'hits'} ${store} ${layer}`))
      bento.on('cache:miss', ({ store }) => count(`misses ${store}`))
      bento.on('cache:written', ({ store }) => count(`writes ${store}`))
      bento.on('cache:deleted', ({ store }) => count(`deletes ${store}`))
      bento.on('cache:cleared', ({ store }) => count(`clears ${store}`))
      bento.on('bus:message:published', () => count('published'))
      bento.on('bus:message:received', () => count('received'))
    },
  }
  return { counts, plugin }
}

describe('a plugin', () => {
  test('is registered at construction, in order, with the BentoCache, before any driver is made', () => {
    const seen: unknown[] = []
    const plugin = (name: string): BentoCachePlugin => ({ register: (bento) => void seen.push([name, bento]) })
    const driver = { options: {}, factory: () => (seen.push('driver'), memoryDriver().factory({})) }
    const bento = new BentoCache({ default: 'a', stores: { a: bentostore().useL1Layer(driver) }, plugins: [plugin('one'), plugin('two')] })
    expect(seen).toEqual([['one', bento], ['two', bento]])
    bento.use()
    expect(seen).toHaveLength(3)
  })

  test('may use a store at once', async () => {
    const plugin: BentoCachePlugin = { register: (bento) => void bento.use('a').set('k', 'of the plugin') }
    const bento = new BentoCache({ default: 'a', stores: { a: bentostore().useL1Layer(memoryDriver()) }, plugins: [plugin] })
    expect(await bento.get('k')).toBe('of the plugin')
  })

  test('that throws makes the construction throw', () => {
    const plugin: BentoCachePlugin = { register: () => { throw new Error('mine') } }
    expect(() => new BentoCache({ default: 'a', stores: { a: bentostore() }, plugins: [plugin] })).toThrow('mine')
  })

  test('[pin 19] that counts sees one of each for a miss, a write, a hit and a delete', async () => {
    const { counts, plugin } = metrics()
    const bento = new Fleet().process('L1+L2', { plugins: [plugin] })
    await bento.get('k')
    await bento.set('k', 'v')
    await bento.get('k')
    await bento.delete('k')
    expect(counts).toEqual({ 'misses main': 1, 'writes main': 1, 'hits main l1': 1, 'deletes main': 1 })
  })

  test('[pin 19] that counts sees a stale read as a graced hit of L1, and as nothing else', async () => {
    const { counts, plugin } = metrics()
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { plugins: [plugin], ttl: '1m', grace: '1h' })
    await bento.set('k', 'v')
    await fleet.clock.advance(60_000)
    await bento.getOrSet('k', new Work().factory)
    expect(counts).toEqual({ 'writes main': 1, 'graced_hits main l1': 1 })
  })

  test('[pin 19] that counts sees the bus', async () => {
    const { counts, plugin } = metrics()
    const fleet = new Fleet()
    const [a] = [fleet.process('L1+L2+bus', { plugins: [plugin] }), fleet.process('L1+L2+bus', { plugins: [plugin] })]
    await a.set('k', 'v')
    expect(counts).toEqual({ 'writes main': 1, published: 1, received: 1 })
  })
})

describe('a tracer', () => {
  /** Spans as the OpenTelemetry package makes them: by the message's identity, the foreground ones nested. */
  function spans() {
    const spans: { name: string; key: string | undefined; parent: string | undefined; ended: boolean }[] = []
    const bySource = new WeakMap<object, (typeof spans)[number]>()
    const open = new Map<string, (typeof spans)[number]>()
    const place = (message: any) => `${message.store} ${message.key}`
    const subscriber = {
      start(message: any) {
        const isPart = message.operation === 'factory' || message.operation === 'set'
        const parent = isPart ? open.get(place(message)) : undefined
        const span = { name: message.operation, key: message.key, parent: parent?.name, ended: false }
        spans.push(span)
        bySource.set(message, span)
        if (message.operation === 'getOrSet') open.set(place(message), span)
      },
      end() {},
      asyncStart() {},
      asyncEnd(message: any) {
        const span = bySource.get(message)
        if (span === undefined) throw new Error('another message object than at the start')
        span.ended = true
        if (open.get(place(message)) === span) open.delete(place(message))
      },
      error() {},
    }
    tracingChannels.cacheOperation.subscribe(subscriber as never)
    return { spans, stop: () => void tracingChannels.cacheOperation.unsubscribe(subscriber as never) }
  }

  test('[pin 19] sees factory and set inside the getOrSet that caused them', async () => {
    const { spans: all, stop } = spans()
    const fleet = new Fleet()
    await fleet.process('L1+L2').getOrSet('k', () => 'v')
    stop()
    expect(all).toEqual([
      { name: 'getOrSet', key: 'bentocache:k', parent: undefined, ended: true },
      { name: 'factory', key: 'bentocache:k', parent: 'getOrSet', ended: true },
      { name: 'set', key: 'bentocache:k', parent: 'getOrSet', ended: true },
    ])
  })

  test('ends every span it has begun, of refreshes in the background too', async () => {
    const { spans: all, stop } = spans()
    const fleet = new Fleet()
    const bento = fleet.process('L1', { ttl: '1m', grace: '1h' })
    await bento.set('k', 'v')
    await fleet.clock.advance(60_000)
    const work = new Work()
    await bento.getOrSet('k', work.factory)
    work.give('w')
    await settle()
    stop()
    expect(all.map(({ name }) => name)).toEqual(['set', 'getOrSet', 'factory', 'set'])
    expect(all.every(({ ended }) => ended)).toBe(true)
  })

  test('may extend BentoCache, and see the configuration that it is built with', async () => {
    const wrapped: string[] = []
    class Traced<Stores extends Record<string, any>> extends BentoCache<Stores> {
      constructor(config: ConstructorParameters<typeof BentoCache<Stores>>[0]) {
        const { internalOperationWrapper: inner } = config
        super({
          ...config,
          internalOperationWrapper: (operation) => {
            wrapped.push('suppressed')
            return inner === undefined ? operation() : inner(operation)
          },
        })
      }
    }
    const fleet = new Fleet()
    const bento = new Traced({ clock: fleet.clock, default: 'main', stores: { main: bentostore().useL2Layer(fleet.l2.driver()) } })
    expect(bento).toBeInstanceOf(BentoCache)
    await bento.set('k', 'v')
    expect(await bento.get('k')).toBe('v')
    expect(wrapped).toHaveLength(2)
  })
})

describe('the wrapper of internal operations', () => {
  test('goes around each operation of L2 and of the bus, and around nothing else', async () => {
    let wraps = 0
    const inside: string[] = []
    let isInside = false
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2+bus', {
      internalOperationWrapper: (operation) => {
        wraps++
        isInside = true
        try {
          return operation()
        } finally {
          isInside = false
        }
      },
    })
    wraps = 0 // it has subscribed
    await bento.get('k')
    expect(wraps).toBe(1)
    await bento.set('k', 'v')
    expect(wraps).toBe(3) // L2 and bus
    await bento.get('k')
    expect(wraps).toBe(3) // L1
    await bento.delete('k')
    expect(wraps).toBe(5)
    await bento.getOrSet('k', () => (inside.push(String(isInside)), 'v'))
    expect(inside).toEqual(['false'])
    expect(wraps).toBe(8) // read, write, message
    await bento.prune()
    expect(wraps).toBe(8)
  })

  test('that throws is a failure of L2, not of the cache', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { internalOperationWrapper: () => { throw new Error('mine') } })
    expect(await bento.getOrSet('k', () => 'v')).toBe('v')
    expect(await bento.get('k')).toBe('v')
  })
})
