import { afterEach, describe, expect, test } from 'vitest'
import { tracingChannels } from '../../src/index.js'
import type { CacheOperationMessage } from '../../src/index.js'
import { throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, Work, errorOf } from '../support/stores.js'

interface Told {
  phase: string
  /** The object itself: it must be the same in all phases of one operation. */
  message: CacheOperationMessage
  /** As it was in that phase. */
  seen: CacheOperationMessage
}

let stop = () => {}
afterEach(() => stop())

function traced() {
  const told: Told[] = []
  const note = (phase: string) => (message: any) => {
    const { result, error, ...seen } = message
    told.push({ phase, message, seen })
  }
  const subscriber = { start: note('start'), end: note('end'), asyncStart: note('asyncStart'), asyncEnd: note('asyncEnd'), error: note('error') }
  tracingChannels.cacheOperation.subscribe(subscriber as never)
  stop = () => void tracingChannels.cacheOperation.unsubscribe(subscriber as never)
  return {
    told,
    /** Operations in the order in which they started, as they were when they ended. */
    ended: () => told.filter(({ phase }) => phase === 'start').map(({ message }) => told.find((one) => one.phase === 'asyncEnd' && one.message === message)?.seen),
    started: () => told.filter(({ phase }) => phase === 'start').map(({ seen }) => seen),
    phases: () => told.map(({ phase, seen }) => `${seen.operation} ${phase}`),
  }
}

const setup = async (shape: 'L1' | 'L2' | 'L1+L2' = 'L1+L2', options: object = {}) => {
  const fleet = new Fleet()
  const other = fleet.process('L2', { ttl: '1m', grace: '1h' })
  const bento = fleet.process(shape, { ttl: '1m', grace: '1h', ...options })
  const makeStale = async () => {
    await bento.set('k', 'old')
    await fleet.clock.advance(60_000)
  }
  return { fleet, bento, other, makeStale }
}

const read = (o: object, operation = 'get') => ({ operation, key: 'bentocache:k', store: 'main', ...o })

describe('a traced verb', () => {
  test.each([
    ['get', (bento: any) => bento.get('k'), { key: 'bentocache:k' }],
    ['set', (bento: any) => bento.set('k', 'v'), { key: 'bentocache:k' }],
    ['set', (bento: any) => bento.setForever('k', 'v'), { key: 'bentocache:k' }],
    ['delete', (bento: any) => bento.delete('k'), { key: 'bentocache:k' }],
    ['deleteMany', (bento: any) => bento.deleteMany(['k', 'j']), { keys: ['bentocache:k', 'bentocache:j'] }],
    ['expire', (bento: any) => bento.expire('k'), { key: 'bentocache:k' }],
    ['clear', (bento: any) => bento.clear(), {}],
  ])('[pin 10] %s is one message, the same object in all its phases', async (operation, verb, about) => {
    const { bento } = await setup()
    const { told, started } = traced()
    await verb(bento)
    expect(started()).toEqual([{ operation, store: 'main', ...about }])
    expect(told.map(({ phase }) => phase)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    expect(new Set(told.map(({ message }) => message)).size).toBe(1)
  })

  test('[pin 10] of a namespace carries the full key', async () => {
    const { bento } = await setup()
    const { started } = traced()
    await bento.namespace('users').get('123')
    await bento.namespace('users').namespace('posts').deleteMany(['1'])
    expect(started()).toEqual([
      { operation: 'get', key: 'bentocache:users:123', store: 'main' },
      { operation: 'deleteMany', keys: ['bentocache:users:posts:1'], store: 'main' },
    ])
  })

  test('that has nothing of its own to tell tells nothing: has, missing, prune, deleteByTag, set(undefined)', async () => {
    const { bento } = await setup()
    await bento.set('k', 'v', { tags: ['t'] })
    const { told } = traced()
    await bento.has('k')
    await bento.missing('k')
    await bento.prune()
    await bento.deleteByTag(['t'])
    await errorOf(bento.set('k', undefined))
    expect(told).toEqual([])
  })

  test('of a pull is a get and a delete', async () => {
    const { bento } = await setup('L1')
    await bento.set('k', 'v')
    const { ended } = traced()
    await bento.pull('k')
    await bento.pull('k')
    expect(ended()).toEqual([
      read({ hit: true, tier: 'l1', graced: false }), { operation: 'delete', key: 'bentocache:k', store: 'main' },
      read({ hit: false }), { operation: 'delete', key: 'bentocache:k', store: 'main' },
    ])
  })

  test('knows its result or its error at the end', async () => {
    const { fleet, bento } = await setup('L2')
    await bento.set('k', 'v')
    const { told, phases } = traced()
    await bento.get('k')
    expect((told.at(-1)!.message as any).result).toBe('v')
    fleet.l2.ail(throwing())
    const error = await errorOf(bento.get('k'))
    expect(phases().slice(4)).toEqual(['get start', 'get end', 'get error', 'get asyncStart', 'get asyncEnd'])
    expect((told.at(-1)!.message as any).error).toBe(error)
  })
})

describe('a traced read says where its answer came from, by the time it ends:', () => {
  test('get', async () => {
    const { fleet, bento, other } = await setup()
    await other.set('k', 'v')
    const { ended, started } = traced()
    await bento.get('k')
    await bento.get('k')
    await fleet.clock.advance(60_000)
    await bento.get('k')
    fleet.l2.kept.clear()
    await bento.get('k')
    await bento.get('k', undefined, { grace: false })
    expect(started()).toEqual(Array(5).fill(read({})))
    expect(ended()).toEqual([
      read({ hit: true, tier: 'l2', graced: false }),
      read({ hit: true, tier: 'l1', graced: false }),
      read({ hit: true, tier: 'l2', graced: true }),
      read({ hit: true, tier: 'l1', graced: true }),
      read({ hit: false }),
    ])
  })

  test('getOrSet, fresh', async () => {
    const { bento, other } = await setup()
    await other.set('k', 'v')
    const { ended } = traced()
    await bento.getOrSet('k', () => 'never')
    await bento.getOrSet('k', () => 'never')
    expect(ended()).toEqual([read({ hit: true, tier: 'l2', graced: false }, 'getOrSet'), read({ hit: true, tier: 'l1', graced: false }, 'getOrSet')])
  })

  test('[pin 10] getOrSet, computed: it encloses its factory, then its set, and each is told once', async () => {
    for (const shape of ['L1', 'L2', 'L1+L2'] as const) {
      const { bento } = await setup(shape)
      const { phases, ended, started } = traced()
      await bento.getOrSet('k', () => 'v')
      expect(started()).toEqual([read({}, 'getOrSet'), read({}, 'factory'), read({}, 'set')])
      expect(ended()).toEqual([read({ hit: false }, 'getOrSet'), read({}, 'factory'), read({}, 'set')])
      const order = phases().filter((phase) => /asyncEnd|start/.test(phase))
      expect(order).toEqual(['getOrSet start', 'factory start', 'factory asyncEnd', 'set start', 'set asyncEnd', 'getOrSet asyncEnd'])
      stop()
    }
  })

  test('getOrSetForever is a getOrSet', async () => {
    const { bento } = await setup()
    const { started } = traced()
    await bento.getOrSetForever('k', () => 'v')
    expect(started().map(({ operation }) => operation)).toEqual(['getOrSet', 'factory', 'set'])
  })

  test('getOrSet, stale at once: it ends before its factory does', async () => {
    for (const [shape, tier] of [['L1', 'l1'], ['L2', 'l2'], ['L1+L2', 'l1']] as const) {
      const { bento, makeStale } = await setup(shape)
      await makeStale()
      const { phases, ended } = traced()
      const work = new Work()
      await bento.getOrSet('k', work.factory)
      expect(ended()[0]).toEqual(read({ hit: true, tier, graced: true }, 'getOrSet'))
      work.give('new')
      await settle()
      const ends = phases().filter((phase) => phase.endsWith('asyncEnd'))
      expect(ends).toEqual(['getOrSet asyncEnd', 'factory asyncEnd', 'set asyncEnd'])
      stop()
    }
  })

  test('getOrSet, stale after a failure', async () => {
    const { bento, makeStale } = await setup('L1+L2', { timeout: null })
    await makeStale()
    const { ended, phases } = traced()
    await bento.getOrSet('k', () => Promise.reject(new Error('no')))
    expect(ended()).toEqual([read({ hit: true, tier: 'l2', graced: true }, 'getOrSet'), read({}, 'factory')])
    expect(phases()).toContain('factory error')
    expect(phases()).not.toContain('getOrSet error')
  })

  test('getOrSet, skipped', async () => {
    const { bento } = await setup()
    const { ended } = traced()
    await bento.getOrSet('k', (ctx) => ctx.skip())
    expect(ended()).toEqual([read({ hit: false }, 'getOrSet'), read({}, 'factory')])
  })

  test('getOrSet, rejected: no word of a hit', async () => {
    const { bento } = await setup()
    const { ended, phases } = traced()
    await errorOf(bento.getOrSet('k', () => Promise.reject(new Error('no'))))
    expect(ended()).toEqual([read({}, 'getOrSet'), read({}, 'factory')])
    expect(phases().filter((phase) => phase.endsWith('error'))).toEqual(['factory error', 'getOrSet error'])
  })

  test('getOrSet, joined: a hit, and no factory of its own', async () => {
    const { bento } = await setup()
    const { ended } = traced()
    const work = new Work()
    const both = Promise.all([bento.getOrSet('k', work.factory), bento.getOrSet('k', work.factory)])
    await settle()
    work.give('v')
    await both
    expect(ended().map((message) => [message!.operation, message!.hit])).toEqual([
      ['getOrSet', false], ['getOrSet', true], ['factory', undefined], ['set', undefined],
    ])
  })
})

describe('what traces', () => {
  test('costs nothing when nobody does, and is not missed', async () => {
    const { bento } = await setup()
    const { told } = traced()
    stop()
    expect(await bento.getOrSet('k', () => 'v')).toBe('v')
    expect(told).toEqual([])
  })

  test('[N4 K] names keys and messages by the store\'s prefix, where a driver has one of its own', async () => {
    const { BentoCache, bentostore } = await import('../../src/index.js')
    const { memoryDriver } = await import('../../src/drivers/memory/memory.js')
    const fleet = new Fleet()
    const l2 = { ...fleet.l2.driver(), options: { prefix: 'two' } }
    const main = bentostore().useL1Layer(memoryDriver()).useL2Layer(l2).useBus(fleet.bus.driver())
    const bento = new BentoCache({ clock: fleet.clock, default: 'main', stores: { main } })
    const { started } = traced()
    await bento.set('a', 'v')
    await bento.namespace('users').delete('7')
    expect([...fleet.l2.kept.keys()]).toEqual(['two:a'])
    expect(started().map(({ key }) => key)).toEqual(['bentocache:a', 'bentocache:users:7'])
    expect(fleet.bus.sent.map(({ namespace }) => namespace)).toEqual(['bentocache', 'bentocache:users'])
  })
})
