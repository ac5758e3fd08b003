import { describe, expect, test } from 'vitest'
import { tracingChannels } from '../../src/index.js'
import { losingReply, onCall, slow } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, REMOTE_SHAPES, SHAPES, Work } from '../support/stores.js'

const DAY = 86_400_000
const MARK = '___bc:t:'

describe.each(SHAPES)('on %s, a tag', (shape) => {
  test('[29] invalidated and then written under, within one millisecond, is readable: 200 of 200', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    for (let n = 0; n < 200; n++) {
      const now = fleet.clock.now()
      await bento.deleteByTag(['t'])
      await bento.set('set', n, { tags: ['t'] })
      await bento.getOrSet(`computed ${n}`, () => n, { tags: ['t'] })
      expect(await bento.get('set')).toBe(n)
      expect(await bento.get(`computed ${n}`)).toBe(n)
      // A 1.6.1 reader hides what was created when the tag was invalidated, or before.
      if (shape !== 'L1') {
        const mark = fleet.stored(MARK + 't')!.value
        expect(mark).toBeGreaterThanOrEqual(now)
        expect(fleet.stored('set')!.createdAt).toBeGreaterThan(mark)
        expect(fleet.stored(`computed ${n}`)!.createdAt).toBeGreaterThan(mark)
      }
    }
  })

  test('[29] invalidated hides what was written before, in the same millisecond too', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    for (let n = 0; n < 200; n++) {
      await bento.set('k', n, { tags: ['t'] })
      await bento.deleteByTag(['t'])
      expect(await bento.get('k')).toBeUndefined()
    }
  })

  test('[29] invalidated ten milliseconds before a write is no matter to it, in any process', async () => {
    const fleet = new Fleet()
    const [a, b] = [fleet.process(shape), fleet.process(shape)]
    await a.deleteByTag(['t'])
    await fleet.clock.advance(10)
    await b.set('k', 'v', { tags: ['t'] })
    expect(await b.get('k')).toBe('v')
    if (shape !== 'L1') expect(await a.get('k')).toBe('v')
  })

  test('[30] hides what it was invalidated for, however long ago that was', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    await bento.setForever('ever', 'v', { tags: ['t'] })
    await bento.set('long', 'v', { tags: ['t'], ttl: '60d' })
    await bento.deleteByTag(['t'])
    await fleet.clock.advance(11 * DAY)
    expect([await bento.get('ever'), await bento.get('long')]).toEqual([undefined, undefined])
    if (shape !== 'L1') expect(await fleet.process(shape).get('ever')).toBeUndefined() // nor by one that never read it
    await fleet.clock.advance(400 * DAY)
    expect(await bento.get('ever')).toBeUndefined()
  })

  test('[31] takes no place in memory, makes no event, leaves no trace and meets no metric', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { memory: { maxItems: 100 } })
    const told: unknown[] = []
    const events = ['cache:hit', 'cache:miss', 'cache:written', 'cache:deleted', 'cache:expire', 'cache:cleared'] as const
    for (const event of events) bento.on(event, (payload) => told.push(payload))
    const traced: any[] = []
    const noop = () => {}
    const subscriber = { start: (message: object) => traced.push({ ...message }), end: noop, asyncStart: noop, asyncEnd: noop, error: noop }
    tracingChannels.cacheOperation.subscribe(subscriber)
    try {
      for (let n = 0; n < 50; n++) await bento.set(`k${n}`, n, { tags: [`a${n}`, `b${n}`, `c${n}`] })
      for (let n = 0; n < 50; n++) expect(await bento.get(`k${n}`)).toBe(n)
      await bento.deleteByTag(['a7', 'b8'])
      for (let n = 0; n < 50; n++) await bento.getOrSet(`k${n}`, () => n, { tags: [`a${n}`] })
    } finally {
      tracingChannels.cacheOperation.unsubscribe(subscriber)
    }
    expect(told.length).toBe(50 + 50 + 48 + 2 * 2)
    expect(JSON.stringify(told)).not.toContain(MARK)
    expect(traced.length).toBe(50 + 50 + 50 + 2 * 2)
    expect(JSON.stringify(traced)).not.toContain(MARK)
    if (shape === 'L1') for (let n = 0; n < 50; n++) expect(await bento.has(`k${n}`)).toBe(true)
  })

  test('[32a K] of the root is not a namespace\'s: deleteByTag reaches the view it is called on', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    const users = bento.namespace('users')
    const write = async () => {
      await bento.set('k', 'root', { tags: ['t'] })
      await users.set('k', 'users', { tags: ['t'] })
      await fleet.clock.advance(10)
    }
    await write()
    await bento.deleteByTag(['t'])
    expect([await bento.get('k'), await users.get('k')]).toEqual([undefined, 'users'])
    await fleet.clock.advance(10)
    await write()
    await users.deleteByTag(['t'])
    expect([await bento.get('k'), await users.get('k')]).toEqual(['root', undefined])
  })

  test('[32b] that was revoked is not served by grace, nor shown to a factory', async () => {
    const fleet = new Fleet()
    const options = { ttl: '1m', grace: '6h', timeout: 0 } as const
    const bento = fleet.process(shape, options)
    await bento.set('k', 'revoked', { tags: ['t'] })
    await bento.deleteByTag(['t'])
    const revoked = async () => {
      expect(await bento.get('k')).toBeUndefined()
      expect(await bento.has('k')).toBe(false)
      const work = new Work()
      const read = bento.getOrSet('k', work.factory)
      await settle()
      expect(work.contexts[0]!.gracedEntry).toBeUndefined()
      work.give('new') // without tags: it stays
      expect(await read).toBe('new')
    }
    await revoked()
    await bento.set('k', 'revoked', { tags: ['u'] })
    await fleet.clock.advance(60_000) // stale as well
    await bento.deleteByTag(['u'])
    await revoked()
    await bento.set('k', 'revoked', { tags: ['t'] })
    await fleet.clock.advance(60_000)
    await bento.deleteByTag(['t'])
    await expect(bento.getOrSet('k', () => Promise.reject(new Error('no')))).rejects.toMatchObject({ code: 'E_FACTORY_ERROR' })
  })

  test('that was revoked by another tag of the entry, in whatever order they stand', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    for (const tag of ['a', 'b', 'c']) {
      await bento.set('k', 'v', { tags: ['a', 'b', 'c'] })
      await bento.deleteByTag([tag])
      expect(await bento.get('k'), tag).toBeUndefined()
      await fleet.clock.advance(10)
    }
  })
})

describe.each(REMOTE_SHAPES)('on %s, the marks of tags', (shape) => {
  const five = ['a', 'b', 'c', 'd', 'e']

  test('[27] of one entry are read in one round trip, where the engine can: two in all', async () => {
    const fleet = new Fleet({ hasGetMany: true })
    await fleet.process('L2').set('k', 'v', { tags: five })
    const bento = fleet.process(shape)
    fleet.l2.resetCalls()
    expect(await bento.get('k')).toBe('v')
    expect(fleet.l2.calls).toMatchObject({ get: 1, getMany: 1 })
    expect(await bento.getOrSet('k', () => 'never')).toBe('v')
    if (shape === 'L2') expect(fleet.l2.calls).toMatchObject({ get: 2, getMany: 2 })
    else expect(fleet.l2.calls).toMatchObject({ get: 1, getMany: 1 })
  })

  test('[27] of one entry are read beside each other, where the engine has no batch', async () => {
    const fleet = new Fleet()
    await fleet.process('L2').set('k', 'v', { tags: five })
    const bento = fleet.process(shape)
    fleet.l2.ail(slow(fleet.clock, 10), 'get')
    fleet.l2.resetCalls()
    const startedAt = fleet.clock.now()
    expect(await fleet.clock.run(bento.get('k'))).toBe('v')
    expect(fleet.clock.now() - startedAt).toBe(20)
    expect(fleet.l2.calls.get).toBe(6)
  })

  test('[27] a thousand reads of an invalidated entry write nothing', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ttl: '1h', grace: '6h' })
    await bento.set('k', 'v', { tags: five })
    await bento.deleteByTag(['c'])
    fleet.l2.resetCalls()
    const all = await Promise.all(Array.from({ length: 1_000 }, () => bento.get('k')))
    expect(new Set(all)).toEqual(new Set([undefined]))
    expect(fleet.l2.calls).toMatchObject({ set: 0, delete: 0, deleteMany: 0 })
  })

  test('[27] are asked for once by a thousand callers of a tagged entry', async () => {
    const fleet = new Fleet({ hasGetMany: true })
    await fleet.process('L2').set('k', 'v', { tags: five })
    const bento = fleet.process(shape)
    fleet.l2.resetCalls()
    await Promise.all(Array.from({ length: 1_000 }, () => bento.getOrSet('k', () => 'never')))
    expect(fleet.l2.calls).toMatchObject({ get: 1, getMany: 1 })
  })

  test('are readable by 1.6.1: an entry whose value is the time', async () => {
    const fleet = new Fleet()
    const now = fleet.clock.now()
    await fleet.process(shape).deleteByTag(['t', 't', 'u'])
    for (const tag of ['t', 'u']) {
      expect(fleet.stored(MARK + tag)).toMatchObject({ value: now, createdAt: now, logicalExpiration: 9_999_999_999_999, ttl: Infinity })
    }
    expect(fleet.l2.calls.set).toBe(2)
  })

  test('of 1.6.1 are obeyed, 10 days and all', async () => {
    const fleet = new Fleet()
    const [writer, reader] = [fleet.process('L2'), fleet.process(shape)]
    await writer.set('k', 'v', { tags: ['t'] })
    const now = fleet.clock.now()
    const text = `{"value":${now},"logicalExpiration":${now + 10 * DAY},"tags":[],"createdAt":${now}}`
    fleet.l2.kept.set(`bentocache:${MARK}t`, { text, deadAt: now + 10 * DAY })
    expect(await reader.get('k')).toBeUndefined()
  })

  test('whose write was acknowledged late, or not at all, hide their entries from the call on', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { suppressL2Errors: true })
    await bento.set('k', 'v', { tags: ['t'] })
    fleet.l2.ail(slow(fleet.clock, 500), 'set')
    const revoked = bento.deleteByTag(['t'])
    expect(await bento.get('k')).toBeUndefined()
    await fleet.clock.advance(500)
    await revoked
    fleet.l2.heal()
    await fleet.clock.advance(10)
    await bento.set('k', 'v', { tags: ['t'] })
    fleet.l2.ail(onCall(1, losingReply()), 'set')
    await bento.deleteByTag(['t'])
    expect(await bento.get('k')).toBeUndefined()
    await fleet.clock.advance(10_000)
    expect(await bento.get('k')).toBeUndefined()
  })
})

describe('an entry that says nothing of its creation', () => {
  test.each(REMOTE_SHAPES)('is hit by no tag (%s)', async (shape) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    fleet.l2.kept.set('bentocache:k', { text: '{"value":"v","tags":["t"]}', deadAt: Infinity })
    await bento.deleteByTag(['t'])
    expect(await bento.get('k')).toBe('v')
  })
})
