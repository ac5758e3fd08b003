import { describe, expect, test } from 'vitest'
import { BentoCache, bentostore } from '../../src/index.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { settle } from '../support/clock.js'
import { Fleet, REMOTE_SHAPES, SHAPES } from '../support/stores.js'
import type { Process } from '../support/stores.js'

describe.each(SHAPES)('%s', (shape) => {
  test('root and namespaces see each other\'s entries under the path', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.namespace('users').set('1', 'by the namespace')
    await bento.set('users:2', 'by the root')
    await bento.namespace('users').namespace('admins').set('3', 'by the child')
    expect(await bento.get('users:1')).toBe('by the namespace')
    expect(await bento.namespace('users').get('2')).toBe('by the root')
    expect(await bento.namespace('users').get('admins:3')).toBe('by the child')
    expect(await bento.namespace('users:admins').get('3')).toBe('by the child')
    expect(await bento.get('1')).toBeUndefined()
  })

  test('clear removes what is below the view and nothing beside it', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const keys = ['users', 'users:1', 'users:admins:1', 'usersAbc:1', 'user:1', 'users*:1', '1']
    const fill = () => Promise.all(keys.map((key) => bento.set(key, key)))
    const left = async () => {
      const has = await Promise.all(keys.map((key) => bento.has(key)))
      return keys.filter((_, i) => has[i])
    }
    await fill()
    await bento.namespace('users').clear()
    expect(await left()).toEqual(['users', 'usersAbc:1', 'user:1', 'users*:1', '1'])
    await fill()
    await bento.namespace('users').namespace('admins').clear()
    expect(await left()).toEqual(keys.filter((key) => key !== 'users:admins:1'))
    await bento.clear()
    expect(await left()).toEqual([])
  })

  test('every verb of a view means the keys of that view', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const users = bento.namespace('users')
    const fill = async () => {
      for (const view of [bento, users]) for (const key of ['a', 'b', 'c']) await view.set(key, key, { grace: '6h' })
    }
    await fill()
    expect(await users.pull('a')).toBe('a')
    await users.delete('b')
    await users.expire('c')
    expect([await users.has('a'), await users.has('b'), await users.has('c')]).toEqual([false, false, false])
    expect(await users.get({ key: 'c', grace: '1h' })).toBe('c')
    expect([await bento.has('a'), await bento.has('b'), await bento.has('c')]).toEqual([true, true, true])
    await fill()
    await users.deleteMany(['a', 'b'])
    expect([await users.has('a'), await users.has('b'), await users.has('c')]).toEqual([false, false, true])
    expect([await bento.has('a'), await bento.has('b')]).toEqual([true, true])
    expect(await users.getOrSet('a', () => 'computed')).toBe('computed')
    expect(await users.getOrSetForever('a', () => 'not again')).toBe('computed')
    await users.setForever('b', 'for ever')
    expect(await bento.get('users:b')).toBe('for ever')
  })

  test('views are made at will and share everything: stats, flights, entries, and the store\'s name', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    expect(bento.namespace('a')).not.toBe(bento.namespace('a'))
    expect(bento.namespace('a').name).toBe('main')
    await bento.namespace('a').getOrSet('k', () => 1)
    expect(bento.stats().executions.miss).toBe(1)
  })
})

describe('keys in storage', () => {
  type Setting = { global?: object; store?: object; driver?: object; view?: (bento: Process) => Pick<Process, 'set'>; key?: string }
  const ROWS: [string, Setting][] = [
    ['bentocache:k', {}],
    ['app:k', { global: { prefix: 'app' } }],
    ['app:k', { global: { prefix: 'app::' } }],
    ['k', { global: { prefix: '' } }],
    ['k', { global: { prefix: undefined } }],
    ['st:k', { global: { prefix: 'app' }, store: { prefix: 'st' } }],
    ['k', { global: { prefix: 'app' }, store: { prefix: '' } }],
    ['drv:k', { global: { prefix: 'app' }, store: { prefix: 'st' }, driver: { prefix: 'drv' } }],
    ['k', { driver: { prefix: undefined } }],
    ['bentocache:users:1', { view: (bento) => bento.namespace('users'), key: '1' }],
    ['bentocache:users:admins:1', { view: (bento) => bento.namespace('users').namespace('admins'), key: '1' }],
    ['bentocache:users:a:b::1', { view: (bento) => bento.namespace('users:').namespace('a:b'), key: ':1' }],
    ['bentocache:1', { view: (bento) => bento.namespace(''), key: '1' }],
    ['users:1', { global: { prefix: '' }, view: (bento) => bento.namespace('users'), key: '1' }],
    ['drv:users:1', { driver: { prefix: 'drv' }, view: (bento) => bento.namespace('users'), key: '1' }],
    ['bentocache:', { key: '' }],
    ['bentocache:k k', { key: 'k k' }],
  ]
  test.each(ROWS)('are 1.6.1\'s: %j of %j', async (stored, { global, store, driver, view, key = 'k' }) => {
    const { l2, clock } = new Fleet()
    const { factory } = l2.driver()
    const main = bentostore(store).useL1Layer(memoryDriver()).useL2Layer({ options: driver ?? {}, factory })
    const bento: Process = new BentoCache({ ...global, clock, default: 'main', stores: { main } })
    await (view?.(bento) ?? bento).set(key, 'v')
    expect([...l2.kept.keys()]).toEqual([stored])
  })

  test('of tag marks are 1.6.1\'s, below the view that invalidates', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2')
    await bento.deleteByTag(['t'])
    await bento.namespace('users').deleteByTag({ tags: ['t', 'u', 't'] })
    expect([...fleet.l2.kept.keys()]).toEqual(['bentocache:___bc:t:t', 'bentocache:users:___bc:t:t', 'bentocache:users:___bc:t:u'])
    expect(fleet.stored('___bc:t:t')).toMatchObject({ value: fleet.clock.now(), createdAt: fleet.clock.now() })
  })

  test('[N9] numbers are the keys they look like, on every verb', async () => {
    for (const shape of SHAPES) {
      const fleet = new Fleet()
      const bento = fleet.process(shape)
      const n = 42 as unknown as string
      await bento.set({ key: n, value: 'v' })
      expect(await bento.get('42')).toBe('v')
      expect(await bento.getOrSet({ key: n, factory: () => 'w' })).toBe('v')
      expect(await bento.has({ key: n })).toBe(true)
      expect(await bento.deleteMany([n])).toBe(true)
      expect(await bento.has('42')).toBe(false)
    }
  })
})

describe('told by the bus', () => {
  interface Act {
    act(users: ReturnType<Process['namespace']>): Promise<unknown>
    leaves: 'nothing' | 'a stale value' | 'v2'
  }
  const ACTS: Record<string, Act> = {
    delete: { act: (users) => users.delete('9'), leaves: 'nothing' },
    expire: { act: (users) => users.expire('9'), leaves: 'a stale value' },
    clear: { act: (users) => users.clear(), leaves: 'nothing' },
    set: { act: (users) => users.set('9', 'v2', { ttl: '1h', grace: '6h' }), leaves: 'v2' },
  }
  const HOLDERS: Record<string, (b: Process) => Pick<Process, 'get' | 'has'> & { key: string }> = {
    'the root, the namespace never opened': (b) => viewed(b, 'users:eu:9'),
    'a parent': (b) => viewed(b.namespace('users'), 'eu:9'),
    'a view of the namespace': (b) => viewed(b.namespace('users').namespace('eu'), '9'),
    'a view spelled as one': (b) => viewed(b.namespace('users:eu'), '9'),
  }
  describe.each(Object.entries(ACTS))('%s', (_, { act, leaves }) => {
    test.each(Object.entries(HOLDERS))('[N1] a namespace\'s news reaches who holds the entry through %s', async (_, viewOf) => {
      for (const shape of ['L1+L2+bus', 'L1+bus'] as const) {
        const fleet = new Fleet()
        const options = { ttl: '1h', grace: '6h' }
        const [a, b] = [fleet.process(shape, options), fleet.process(shape, options)]
        await a.set('users:eu:9', 'v1')
        const holder = viewOf(b)
        if (shape === 'L1+bus') await b.set('users:eu:9', 'v1')
        expect(await holder.get(holder.key)).toBe('v1')
        await act(a.namespace('users').namespace('eu'))
        await settle()
        fleet.l2.resetCalls()
        const isInL2 = shape === 'L1+L2+bus' && leaves === 'v2'
        expect(await holder.has(holder.key)).toBe(isInL2)
        expect(fleet.l2.calls.get).toBe(shape === 'L1+bus' ? 0 : 1)
        const served = await holder.get(holder.key)
        expect(served).toBe(leaves === 'nothing' ? undefined : isInL2 ? 'v2' : 'v1')
      }
    })
  })

  test('[N1] news of a namespace touches no key beside it', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process(), fleet.process()]
    for (const key of ['users', '9', 'users:9', 'usersAbc:9', 'x:users:9']) {
      await a.set(key, 'v')
      await b.get(key)
    }
    await a.namespace('users').clear()
    await a.namespace('users').delete('9')
    await settle()
    fleet.l2.resetCalls()
    for (const key of ['users', '9', 'usersAbc:9', 'x:users:9']) expect(await b.get(key)).toBe('v')
    expect(fleet.l2.calls.get).toBe(0)
    expect(await b.get('users:9')).toBeUndefined()
  })

  test('[N1] stores of different prefixes on one bus do not concern each other', async () => {
    const fleet = new Fleet()
    const [a, b, c] = [
      fleet.process('L1+bus', { prefix: 'app' }),
      fleet.process('L1+bus', { prefix: 'apple' }),
      fleet.process('L1+bus', { prefix: '' }),
    ]
    for (const process of [a, b, c]) await process.set('k', 'v', { skipBusNotify: true })
    await a.delete('k')
    await settle()
    expect([await a.has('k'), await b.has('k'), await c.has('k')]).toEqual([false, true, true])
  })

  test('[pin 18] prefix \'\' synchronises like any other, namespaces included', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process('L1+L2+bus', { prefix: '' }), fleet.process('L1+L2+bus', { prefix: '' })]
    await a.set('k', 1)
    await a.set('users:1', 1)
    expect([await b.get('k'), await b.get('users:1')]).toEqual([1, 1])
    await a.set('k', 2)
    await a.namespace('users').set('1', 2)
    await settle()
    expect([await b.get('k'), await b.get('users:1')]).toEqual([2, 2])
    await a.clear()
    await settle()
    expect([await b.get('k'), await b.get('users:1')]).toEqual([undefined, undefined])
  })
})

describe.each(REMOTE_SHAPES)('%s', (shape) => {
  test('two processes share what their namespaces hold', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process(shape), fleet.process(shape)]
    await a.namespace('users').namespace('eu').set('9', { id: 9 })
    expect(await b.get('users:eu:9')).toEqual({ id: 9 })
    await b.namespace('users').clear()
    expect(fleet.l2.kept.size).toBe(0)
  })
})

function viewed(view: Pick<Process, 'get' | 'has'>, key: string) {
  return { get: view.get.bind(view) as Process['get'], has: view.has.bind(view) as Process['has'], key }
}
