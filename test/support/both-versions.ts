import { expect } from 'vitest'
import { BentoCache as Old, bentostore as oldStore } from '../../bench/node_modules/bentocache/build/index.js'
import type { L2CacheDriver } from '../../src/base/contract.js'
import { BentoCache, bentostore } from '../../src/index.js'

/**
 * A cache of ours and one of 1.6.1 over one storage, as during a rolling upgrade: what either
 * writes, tags, expires and removes is so for both.
 */
export async function upgradeTogether(drivers: { ours: L2CacheDriver; theirs: object }): Promise<void> {
  const result = (driver: any) => ({ options: {}, factory: () => driver })
  const stores = { store: bentostore().useL2Layer(result(drivers.ours)) }
  const ours = new BentoCache({ default: 'store', stores })
  const theirs = new Old({ default: 'store', stores: { store: oldStore().useL2Layer(result(drivers.theirs)) } })

  await theirs.set({ key: 'plain', value: { of: 'theirs' }, ttl: '1h', tags: ['old'] })
  expect(await ours.get({ key: 'plain' })).toEqual({ of: 'theirs' })
  await ours.set({ key: 'plain', value: { of: 'ours' }, ttl: '1h', tags: ['new'] })
  expect(await theirs.get({ key: 'plain' })).toEqual({ of: 'ours' })

  expect(await ours.getOrSet({ key: 'users:1', factory: () => 'computed', ttl: '1h', tags: ['new'] })).toBe('computed')
  expect(await theirs.getOrSet({ key: 'users:1', factory: () => 'again', ttl: '1h' })).toBe('computed')
  expect(await theirs.namespace('users').get({ key: '1' })).toBe('computed')

  await ours.setForever({ key: 'for ever', value: 1 })
  await ours.expire({ key: 'for ever' })
  expect([await theirs.get({ key: 'for ever' }), await ours.get({ key: 'for ever', grace: '1h' })]).toEqual([undefined, 1])
  expect(await drivers.ours.remainingTtl!('for ever')).toBe(Infinity)
  await ours.expire({ key: 'users:1' })
  expect(await drivers.ours.remainingTtl!('users:1')).toBeGreaterThan(3_500_000)

  await new Promise((resolve) => setTimeout(resolve, 5)) // a tag of the same millisecond loses or wins
  await ours.deleteByTag({ tags: ['new'] })
  expect(await theirs.get({ key: 'plain' })).toBeUndefined()
  await new Promise((resolve) => setTimeout(resolve, 5))
  await theirs.set({ key: 'plain', value: 'fresh', ttl: '1h', tags: ['old'] })
  expect(await ours.get({ key: 'plain' })).toBe('fresh')
  await new Promise((resolve) => setTimeout(resolve, 5))
  await theirs.deleteByTag({ tags: ['old'] })
  expect(await ours.get({ key: 'plain' })).toBeUndefined()

  await ours.namespace('users').set({ key: '2', value: 'two' })
  await theirs.set({ key: 'other', value: 'other' })
  await ours.namespace('users').clear()
  expect([await theirs.get({ key: 'users:2' }), await ours.get({ key: 'other' })]).toEqual([undefined, 'other'])
  expect(await ours.delete({ key: 'other' })).toBe(true)
  expect(await theirs.get({ key: 'other' })).toBeUndefined()

  const runs = { count: 0 }
  const factory = async () => (runs.count++, 'value')
  const all = await Promise.all(Array.from({ length: 500 }, () => ours.getOrSet({ key: 'herd', factory, ttl: '1h' })))
  expect([new Set(all), runs.count]).toEqual([new Set(['value']), 1])
  expect(await theirs.get({ key: 'herd' })).toBe('value')
  await Promise.all([ours.disconnectAll(), theirs.disconnectAll()])
}
