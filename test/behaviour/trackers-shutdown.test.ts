import { describe, expect, test } from 'vitest'
import { BentoCache, bentostore } from '../../src/index.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { hanging, throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, Work, unhandledDuring } from '../support/stores.js'

describe('disconnect', () => {
  test('[R7] may be called twice, at once or later: the engines hear of it once', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2+bus')
    await bento.set('k', 'v')
    await Promise.all([bento.disconnect(), bento.disconnect(), bento.namespace('users').disconnect()])
    await bento.disconnect()
    await bento.disconnectAll()
    expect(fleet.l2.calls.disconnect).toBe(1)
  })

  test.each([
    ['refuses', () => throwing(new Error('Connection is closed.'))],
    ['does not answer', () => hanging()],
  ])('[R7] settles within 2 s, and rejects nobody, when L2 %s', async (_, trouble) => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const bento = fleet.process('L1+L2+bus', { logger })
    fleet.l2.ail(trouble())
    const startedAt = fleet.clock.now()
    const unhandled = await unhandledDuring(async () => {
      await fleet.clock.run(bento.disconnect())
      await fleet.clock.run(bento.disconnect())
    })
    expect(fleet.clock.now() - startedAt).toBeLessThanOrEqual(2_000)
    expect(unhandled).toEqual([])
  })

  test('[R7] with operations, flights and messages under way leaves no timer behind', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2+bus', { suppressL2Errors: true })
    fleet.l2.ail(throwing(), 'delete')
    fleet.bus.goDown()
    await bento.set('k', 'v')
    await bento.delete('k') // owed
    const work = new Work()
    const read = bento.getOrSet('j', work.factory)
    await settle()
    await fleet.clock.run(bento.disconnect())
    work.give('v')
    expect(await read).toBe('v')
    await fleet.clock.advance(10_000)
    expect(fleet.clock.pending).toBe(0)
  })

  test('[R7] of a store whose bus never came up ends the attempts to subscribe', async () => {
    const fleet = new Fleet()
    fleet.bus.goDown()
    const bento = fleet.process('L1+bus')
    await fleet.clock.advance(250)
    await bento.disconnect()
    await fleet.clock.advance(10_000)
    expect(fleet.clock.pending).toBe(0)
  })

  test('[51] of all stores makes none that was not used', async () => {
    const made: string[] = []
    const store = (name: string) => bentostore().useL1Layer({ options: {}, factory: () => (made.push(name), memoryDriver().factory({})) })
    const bento = new BentoCache({ default: 'a', stores: { a: store('a'), b: store('b') } })
    await bento.disconnectAll()
    expect(made).toEqual([])
    await bento.use('b').set('k', 'v')
    await bento.disconnectAll()
    expect(made).toEqual(['b'])
    await bento.clearAll()
    expect(made.sort()).toEqual(['a', 'b'])
  })

  test('deletes nothing: what L1 and L2 hold is there for who comes next', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2')
    await bento.set('k', 'v')
    await bento.disconnect()
    expect(bento.use()).toBe(bento.use('main'))
    expect(await bento.get('k')).toBe('v')
    expect(fleet.stored('k')).toMatchObject({ value: 'v' })
  })
})
