import { describe, expect, test } from 'vitest'
import { Debts } from '../../../src/tier/debts.js'
import type { Debt } from '../../../src/tier/debts.js'
import { VirtualClock } from '../../support/clock.js'

function debtor(o: { pays?: (debt: Debt) => Promise<boolean> } = {}) {
  const clock = new VirtualClock()
  const tried: string[] = []
  const dropped: string[] = []
  const world = { canPay: false, clock, tried, dropped }
  const pay = o.pays ?? (async () => world.canPay)
  const debts = new Debts({
    clock,
    pay: (debt) => (tried.push(`${debt.how} ${debt.key}`), pay(debt)),
    dropped: (debt) => dropped.push(debt.key),
  })
  return Object.assign(world, { debts })
}

describe('an invalidation that L2 has not acknowledged', () => {
  test('is sent again every half second until it is, then never more, and no timer is left', async () => {
    const world = debtor()
    world.debts.add({ how: 'delete', key: 'k', at: 10 })
    await world.clock.advance(1_000)
    expect(world.tried).toEqual(['delete k', 'delete k'])
    world.canPay = true
    await world.clock.advance(500)
    expect(world.debts.size).toBe(0)
    await world.clock.advance(10_000)
    expect(world.tried).toHaveLength(3)
    expect(world.clock.pending).toBe(0)
  })

  test('waits its turn: in an outage one try stands for all', async () => {
    const world = debtor()
    for (const key of ['a', 'b', 'c']) world.debts.add({ how: 'delete', key, at: 10 })
    await world.clock.advance(500)
    expect(world.tried).toEqual(['delete a'])
    world.canPay = true
    await world.clock.advance(500)
    expect(world.tried).toEqual(['delete a', 'delete a', 'delete b', 'delete c'])
  })

  test('whose retry throws is kept', async () => {
    const world = debtor({ pays: () => Promise.reject(new Error('away')) })
    world.debts.add({ how: 'expire', key: 'k', at: 10 })
    await world.clock.advance(500)
    expect(world.debts.size).toBe(1)
  })

  test('concerns what was stored before it, and nothing younger', () => {
    const { debts } = debtor()
    debts.add({ how: 'delete', key: 'k', at: 10 })
    expect(debts.of('k', 10)).toMatchObject({ how: 'delete' })
    expect(debts.of('k', undefined)).toMatchObject({ how: 'delete' })
    expect(debts.of('k', 11)).toBeUndefined()
    expect(debts.of('other', 5)).toBeUndefined()
  })

  test('of a namespace concerns everything below it, and nothing beside it', () => {
    const { debts } = debtor()
    debts.add({ how: 'clear', key: 'users', at: 10 })
    expect(debts.of('users:1', 10)).toMatchObject({ how: 'clear' })
    expect(debts.of('users:1', 11)).toBeUndefined()
    expect(debts.of('usersAbc:1', 5)).toBeUndefined()
    debts.add({ how: 'clear', key: '', at: 3 })
    expect(debts.of('usersAbc:1', 3)).toMatchObject({ how: 'clear', key: '' })
  })

  test('stops concerning anything once its clear is paid', async () => {
    const world = debtor()
    world.debts.add({ how: 'clear', key: 'users', at: 10 })
    world.debts.add({ how: 'delete', key: 'users:1', at: 10 })
    world.canPay = true
    await world.clock.advance(500)
    expect(world.debts.of('users:1', 5)).toBeUndefined()
    expect(world.debts.of('users:2', 5)).toBeUndefined()
  })

  test('is settled by a later write or delete that was acknowledged', () => {
    const { debts } = debtor()
    debts.add({ how: 'delete', key: 'k', at: 10 })
    debts.settle('k')
    expect(debts.of('k', 5)).toBeUndefined()
    expect(debts.size).toBe(0)
  })

  test('is not forgotten because the same key was invalidated again while it was being paid', async () => {
    const world = debtor({ pays: async () => (await world.clock.sleep(100), true) })
    world.debts.add({ how: 'delete', key: 'k', at: 10 })
    await world.clock.advance(550) // under way
    world.debts.add({ how: 'delete', key: 'k', at: 20 })
    await world.clock.advance(100)
    expect(world.debts.of('k', 20)).toMatchObject({ at: 20 })
    await world.clock.advance(1_000)
    expect(world.debts.size).toBe(0)
  })

  test('stays a delete when an expire follows: the value must go', () => {
    const { debts } = debtor()
    debts.add({ how: 'delete', key: 'k', at: 10 })
    debts.add({ how: 'expire', key: 'k', at: 20 })
    expect(debts.of('k', 20)).toEqual({ how: 'delete', key: 'k', at: 20 })
  })

  test('is one of 10,000 at most: above that the oldest is given up, and told', () => {
    const { debts, dropped } = debtor()
    for (let n = 0; n < 10_002; n++) debts.add({ how: 'delete', key: `k${n}`, at: 10 })
    expect(debts.size).toBe(10_000)
    expect(dropped).toEqual(['k0', 'k1'])
    debts.close()
  })

  test('dies with the store: nothing is owed and no timer runs after the end', async () => {
    const world = debtor()
    world.debts.add({ how: 'delete', key: 'k', at: 10 })
    world.debts.close()
    expect(world.clock.pending).toBe(0)
    await world.clock.advance(5_000)
    expect(world.tried).toEqual([])
  })
})
