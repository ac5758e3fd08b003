import { EventEmitter } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { CacheEvents } from '../../src/types.js'
import { throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, SHAPES, Work, errorOf, unhandledDuring } from '../support/stores.js'
import type { Process } from '../support/stores.js'

const EVENTS = [
  'cache:hit', 'cache:miss', 'cache:written', 'cache:deleted', 'cache:cleared', 'cache:expire',
  'bus:message:published', 'bus:message:received',
] as const satisfies (keyof CacheEvents)[]

/** Everything that 1.6.1's events say from now on, in order. */
function told(bento: Process): [string, unknown][] {
  const events: [string, unknown][] = []
  for (const event of EVENTS) bento.on(event, (payload) => events.push([event, payload]))
  return events
}

const hit = (value: unknown, layer: 'l1' | 'l2', graced = false, key = 'k') => ['cache:hit', { key, value, store: 'main', layer, graced }]
const miss = (key = 'k') => ['cache:miss', { key, store: 'main' }]
const written = (value: unknown, key = 'k') => ['cache:written', { key, value, store: 'main' }]
const deleted = (key = 'k') => ['cache:deleted', { key, store: 'main' }]
const published = (type: string, ...keys: string[]) => ['bus:message:published', { message: { keys, type } }]

describe('events, each whole and in their order:', () => {
  const setup = async (options: object = {}) => {
    const fleet = new Fleet()
    const other = fleet.process('L2', { ttl: '1m', grace: '1h' }) // writes to L2 and tells nobody
    const bento = fleet.process('L1+L2+bus', { ttl: '1m', grace: '1h', ...options })
    const makeStale = async () => {
      await bento.set('k', 'old')
      await fleet.clock.advance(60_000)
    }
    return { fleet, bento, other, makeStale }
  }

  test('[46] [A7] get: a hit of the tier it came from, the value itself, and a miss', async () => {
    const { fleet, bento, other } = await setup()
    await other.set('k', { a: 1 })
    const events = told(bento)
    await bento.get('k')
    await bento.get('k')
    await bento.get('missing')
    await fleet.clock.advance(60_000)
    await bento.get('k')
    await bento.get('k', undefined, { grace: false })
    expect(events).toEqual([hit({ a: 1 }, 'l2'), hit({ a: 1 }, 'l1'), miss('missing'), hit({ a: 1 }, 'l2', true), miss()])
  })

  test('[46] get: a stale hit says the tier that had it', async () => {
    const { fleet, bento, makeStale } = await setup()
    await makeStale()
    fleet.l2.kept.clear()
    const events = told(bento)
    await bento.get('k')
    expect(events).toEqual([hit('old', 'l1', true)])
  })

  test('getOrSet: computed', async () => {
    const { bento } = await setup()
    const events = told(bento)
    await bento.getOrSet('k', () => 'v')
    expect(events).toEqual([published('set', 'k'), written('v'), miss()])
  })

  test('getOrSet: fresh in L1, fresh in L2', async () => {
    const { bento, other } = await setup()
    await other.set('k', 'v')
    const events = told(bento)
    await bento.getOrSet('k', () => 'never')
    await bento.getOrSet('k', () => 'never')
    expect(events).toEqual([hit('v', 'l2'), hit('v', 'l1')])
  })

  test('getOrSet: those who waited for another\'s run are hits', async () => {
    const { bento } = await setup()
    const events = told(bento)
    const work = new Work()
    const all = Promise.all([1, 2, 3].map(() => bento.getOrSet('k', work.factory)))
    await settle()
    work.give('v')
    await all
    expect(events).toEqual([published('set', 'k'), written('v'), miss(), hit('v', 'l1'), hit('v', 'l1')])
  })

  test('[pin 19] getOrSet: stale at once, the refresh behind it, and no miss', async () => {
    const { bento, makeStale } = await setup()
    await makeStale()
    const events = told(bento)
    const work = new Work()
    await bento.getOrSet('k', work.factory)
    expect(events).toEqual([hit('old', 'l1', true)])
    work.give('new')
    await settle()
    expect(events).toEqual([hit('old', 'l1', true), published('set', 'k'), written('new')])
  })

  test('getOrSet: stale after a soft timeout, from L2 when only L2 had it', async () => {
    const { fleet, bento, other } = await setup({ timeout: 10 })
    await other.set('k', 'old')
    await fleet.clock.advance(60_000)
    const events = told(bento)
    const read = bento.getOrSet('k', new Work().factory)
    await fleet.clock.advance(10)
    await read
    expect(events).toEqual([hit('old', 'l2', true)])
  })

  test('[46] getOrSet: stale after a failure, without a miss', async () => {
    const { fleet, bento, makeStale } = await setup({ timeout: null })
    await makeStale()
    const events = told(bento)
    await bento.getOrSet('k', () => Promise.reject(new Error('no')))
    expect(events).toEqual([hit('old', 'l2', true)]) // both had it
    events.length = 0
    await fleet.clock.advance(10_000)
    fleet.l2.kept.clear()
    await bento.getOrSet('k', () => Promise.reject(new Error('no')))
    expect(events).toEqual([hit('old', 'l1', true)])
  })

  test('[46] getOrSet: a failure with nothing to serve is a miss', async () => {
    const { bento } = await setup()
    const events = told(bento)
    await errorOf(bento.getOrSet('k', () => Promise.reject(new Error('no'))))
    expect(events).toEqual([miss()])
  })

  test('getOrSet: a skip is a miss', async () => {
    const { bento } = await setup()
    const events = told(bento)
    await bento.getOrSet('k', (ctx) => ctx.skip())
    expect(events).toEqual([miss()])
  })

  test('set and setForever', async () => {
    const { bento } = await setup()
    const events = told(bento)
    const live = { a: undefined, date: new Date(0) }
    await bento.set('k', live)
    await bento.setForever('j', null)
    expect(events).toEqual([published('set', 'k'), written(live), published('set', 'j'), written(null, 'j')])
    expect((events[1]![1] as any).value).toBe(live)
  })

  test('set that tells no peer', async () => {
    const { bento } = await setup()
    const events = told(bento)
    await bento.set('k', 'v', { skipBusNotify: true })
    await bento.set('k', 'v', { skipL2Write: true })
    expect(events).toEqual([written('v'), written('v')])
  })

  test('set that is refused: undefined, and a strict L2 failure', async () => {
    const { fleet, bento } = await setup()
    const events = told(bento)
    await errorOf(bento.set('k', undefined))
    fleet.l2.ail(throwing())
    await errorOf(bento.set('k', 'v', { suppressL2Errors: false }))
    expect(events).toEqual([])
  })

  test('delete, deleteMany in the order of its keys, expire, clear', async () => {
    const { bento } = await setup()
    for (const key of ['k', 'a', 'b', 'c', 'e']) await bento.set(key, 'v')
    const events = told(bento)
    await bento.delete('k')
    await bento.deleteMany(['c', 'a', 'b'])
    await bento.expire('e')
    await bento.clear()
    expect(events).toEqual([
      deleted(), published('delete', 'k'),
      deleted('c'), deleted('a'), deleted('b'), published('delete', 'c', 'a', 'b'),
      published('expire', 'e'), ['cache:expire', { key: 'e', store: 'main' }],
      published('clear'), ['cache:cleared', { store: 'main' }],
    ])
  })

  test('delete is told of even if the bus is away', async () => {
    const { fleet, bento } = await setup()
    await bento.set('k', 'v')
    const events = told(bento)
    fleet.bus.goDown()
    await bento.delete('k')
    expect(events).toEqual([deleted()])
  })

  test('pull', async () => {
    const { bento } = await setup()
    await bento.set('k', 'v')
    const events = told(bento)
    await bento.pull('k')
    await bento.pull('k')
    expect(events).toEqual([hit('v', 'l2'), deleted(), published('delete', 'k'), miss(), deleted(), published('delete', 'k')])
  })

  test('[31] deleteByTag, and reading what it hit, say nothing of marks', async () => {
    const { bento } = await setup()
    await bento.set('k', 'v', { tags: ['a', 'b'] })
    const events = told(bento)
    await bento.get('k')
    await bento.deleteByTag(['a', 'c'])
    await bento.get('k')
    expect(events).toEqual([hit('v', 'l1'), published('set', '___bc:t:a'), published('set', '___bc:t:c'), miss()])
  })

  test('has, missing and prune say nothing', async () => {
    const { bento } = await setup()
    await bento.set('k', 'v')
    const events = told(bento)
    await bento.has('k')
    await bento.missing('k')
    await bento.has('j')
    await bento.prune()
    expect(events).toEqual([])
  })

  test('a peer hears what was published, once, and does not publish it again', async () => {
    const { fleet, bento } = await setup()
    const peer = fleet.process('L1+L2+bus')
    const [mine, theirs] = [told(bento), told(peer)]
    await bento.set('k', 'v')
    await bento.namespace('users').delete('7')
    expect(theirs).toEqual([
      ['bus:message:received', { message: { keys: ['k'], type: 'set' } }],
      ['bus:message:received', { message: { keys: ['7'], type: 'delete' } }],
    ])
    expect(mine.filter(([event]) => event === 'bus:message:received')).toEqual([])
  })

  test('[N17] a message that was delayed is told of once it is sent', async () => {
    const { fleet, bento } = await setup()
    const events = told(bento)
    fleet.bus.goDown()
    await bento.set('k', 'v')
    await bento.delete('j')
    expect(events).toEqual([written('v'), deleted('j')])
    fleet.bus.comeBack({ isNoticed: false })
    await fleet.clock.advance(2_000)
    expect(events.slice(2)).toEqual([published('set', 'k'), published('delete', 'j')])
  })

  test('keys are named as the view names them', async () => {
    const { bento } = await setup()
    const events = told(bento)
    const users = bento.namespace('users')
    await users.set('7', 'v')
    await users.get('7')
    await bento.get('users:7')
    expect(events).toEqual([published('set', '7'), written('v', '7'), hit('v', 'l1', false, '7'), hit('v', 'l1', false, 'users:7')])
  })
})

describe('the new events', () => {
  test('tell of a stampede that did not happen, and how many waited', async () => {
    const bento = new Fleet().process('L1')
    const prevented: unknown[] = []
    bento.on('stampede:prevented', (payload) => prevented.push(payload))
    const work = new Work()
    const all = Promise.all(Array.from({ length: 10 }, () => bento.getOrSet('k', work.factory)))
    await settle()
    work.give('v')
    await all
    await bento.getOrSet('alone', () => 'v')
    expect(prevented).toEqual([{ key: 'k', store: 'main', waiters: 9 }])
    expect(bento.stats()).toMatchObject({ waiters: 9, flightsWithWaiters: 1, coalesced: 9, misses: 2, executions: { miss: 2 } })
  })

  test('count the same when nobody listens', async () => {
    const bento = new Fleet().process('L1')
    const work = new Work()
    const all = Promise.all(Array.from({ length: 10 }, () => bento.getOrSet('k', work.factory)))
    await settle()
    work.give('v')
    await all
    await bento.getOrSet('k', work.factory)
    expect(bento.stats()).toMatchObject({ waiters: 9, flightsWithWaiters: 1, coalesced: 9, misses: 1, hits: 1 })
  })
})

describe.each(SHAPES)('on %s, a listener', (shape) => {
  test('[47] that throws breaks no operation: the error is logged', async () => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const bento = fleet.process(shape, { logger })
    const mine = new Error('mine')
    const heard: string[] = []
    for (const event of EVENTS) {
      bento.on(event, () => {
        throw mine
      })
      bento.on(event, () => heard.push(event))
    }
    expect(await bento.getOrSet('k', () => 'v')).toBe('v')
    expect(await bento.get('k')).toBe('v')
    expect(await bento.set('k', 'w')).toBe(true)
    expect(await bento.delete('k')).toBe(true)
    await bento.clear()
    expect(heard).toEqual(['cache:written', 'cache:miss', 'cache:hit', 'cache:written', 'cache:deleted', 'cache:cleared'])
    expect(logger.of('error').map(({ fields }) => fields)).toEqual(heard.map((event) => ({ err: mine, event })))
  })

  test('[47] of an asynchronous emitter may reject: logged, and never unhandled', async () => {
    const logger = new LogBook()
    const emitter = { on() {}, once() {}, off() {}, emit: () => Promise.reject(new Error('mine')) as never }
    const bento = new Fleet().process(shape, { logger, emitter })
    const unhandled = await unhandledDuring(async () => void (await bento.getOrSet('k', () => 'v')))
    expect(unhandled).toEqual([])
    expect(logger.of('error').map(({ fields }) => fields.event)).toEqual(['cache:written', 'cache:miss'])
  })
})

describe('an emitter of the user', () => {
  test('carries the events; on, once and off are its own, and chain', async () => {
    const emitter = new EventEmitter()
    const bento = new Fleet().process('L1', { emitter })
    const heard: string[] = []
    const always = () => heard.push('always')
    expect(bento.on('cache:miss', always).once('cache:miss', () => heard.push('once'))).toBe(bento)
    emitter.on('cache:miss', (payload) => heard.push(payload.key))
    await bento.get('a')
    await bento.get('b')
    expect(bento.off('cache:miss', always)).toBe(bento)
    await bento.get('c')
    expect(heard).toEqual(['always', 'once', 'a', 'always', 'b', 'c'])
    expect(emitter.listenerCount('cache:miss')).toBe(1)
  })

  test('is one for all stores and namespaces', async () => {
    const { BentoCache, bentostore } = await import('../../src/index.js')
    const bento = new BentoCache({ default: 'a', stores: { a: bentostore(), b: bentostore() } })
    const heard: unknown[] = []
    bento.on('cache:miss', ({ store, key }) => heard.push([store, key]))
    await bento.get('1')
    await bento.use('b').get('2')
    await bento.use('b').namespace('users').get('3')
    expect(heard).toEqual([['a', '1'], ['b', '2'], ['b', '3']])
  })

  test('given as undefined is the default one', async () => {
    const bento = new Fleet().process('L1', { emitter: undefined } as never)
    const heard: string[] = []
    bento.on('cache:miss', ({ key }) => heard.push(key))
    await bento.get('k')
    expect(heard).toEqual(['k'])
  })
})
