import { describe, expect, test } from 'vitest'
import { slow } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, REMOTE_SHAPES } from '../support/stores.js'

/** Without scripts in the engine, an expire reads, rewrites and sets; a set may come in between. */
describe.each(REMOTE_SHAPES)('on %s, an expire', (shape) => {
  test.each([
    ['read', 'get'],
    ['rewrite', 'set'],
  ] as const)('[33] does not undo a set that comes during its %s', async (_, method) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h', grace: '6h' })
    await bento.set('k', 'v1')
    fleet.l2.ail(slow(fleet.clock, 50), method)
    const expired = bento.expire('k')
    await fleet.clock.advance(10)
    const set = bento.set('k', 'v2')
    await fleet.clock.advance(500)
    expect(await expired).toBe(true)
    expect(await set).toBe(true)
    expect(fleet.stored('k')).toMatchObject({ value: 'v2' })
    fleet.l2.heal()
    expect(await bento.get('k', undefined, { grace: false })).toBe('v2')
  })

  test('[33] that follows a set under way makes its value stale, not the one before', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h', grace: '6h' })
    await bento.set('k', 'v1')
    fleet.l2.ail(slow(fleet.clock, 50), 'set')
    const set = bento.set('k', 'v2')
    const expired = bento.expire('k')
    await fleet.clock.advance(500)
    await Promise.all([set, expired])
    expect(fleet.stored('k')).toMatchObject({ value: 'v2' })
    fleet.l2.heal()
    expect(await bento.has('k')).toBe(false)
    expect(await bento.get('k')).toBe('v2')
  })

  test('[33] does not bring back what is deleted during it', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h', grace: '6h' })
    await bento.set('k', 'v1')
    fleet.l2.ail(slow(fleet.clock, 50), 'get', 'set')
    const all = Promise.all([bento.expire('k'), bento.delete('k')])
    await fleet.clock.advance(500)
    await all
    await settle()
    expect(fleet.stored('k')).toBeUndefined()
    const many = Promise.all([bento.set('k', 'v2'), bento.expire('k'), bento.deleteMany(['k', 'j'])])
    await fleet.clock.advance(500)
    await many
    expect(fleet.stored('k')).toBeUndefined()
  })

  test('of nothing stores nothing, and says that it is done', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    expect(await bento.expire('k')).toBe(true)
    expect(fleet.stored('k')).toBeUndefined()
    expect(fleet.l2.calls.set).toBe(0)
  })

  test('of two at once, and of an expired one again, changes nothing more', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h', grace: '6h' })
    await bento.set('k', 'v', { tags: ['t'] })
    await Promise.all([bento.expire('k'), bento.expire('k')])
    await bento.expire('k')
    expect(fleet.stored('k')).toMatchObject({ value: 'v', tags: ['t'], createdAt: fleet.clock.now() })
    expect(await bento.get('k')).toBe('v')
  })
})
