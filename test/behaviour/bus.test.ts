import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, errorOf, unhandledDuring } from '../support/stores.js'
import type { Process, ProcessOptions } from '../support/stores.js'

/** Two processes that hold the same fresh value of `k`. */
async function pair(options: ProcessOptions = {}) {
  const fleet = new Fleet()
  const process = () => fleet.process('L1+L2+bus', { ttl: '1h', grace: '6h', ...options })
  const [a, b] = [process(), process()]
  await a.set('k', 'v1')
  await settle()
  expect(await b.get('k')).toBe('v1')
  fleet.bus.sent.length = 0
  fleet.l2.resetCalls()
  return { fleet, a, b, bus: fleet.bus }
}

/** What the process would serve without asking anybody. */
async function inL1(fleet: Fleet, bento: Process, key = 'k', grace: false | string = false): Promise<unknown> {
  fleet.l2.ail(throwing(), 'get')
  const value = await bento.get({ key, grace })
  fleet.l2.heal('get')
  return value
}

describe('what the others do', () => {
  test('[pin 8] set makes their copies stale, and keeps them for grace', async () => {
    const { fleet, a, b } = await pair()
    await a.set('k', 'v2')
    await settle()
    expect(await inL1(fleet, b)).toBeUndefined()
    expect(await inL1(fleet, b, 'k', '6h')).toBe('v1')
    expect(await b.get('k')).toBe('v2')
    expect(await inL1(fleet, b)).toBe('v2')
  })

  test('[pin 8] a computed value does the same', async () => {
    const { fleet, a, b } = await pair()
    await a.getOrSet({ key: 'k', factory: () => 'v2', forceFresh: true })
    await settle()
    expect(await inL1(fleet, b)).toBeUndefined()
    expect(await inL1(fleet, b, 'k', '6h')).toBe('v1')
    expect(await b.getOrSet('k', () => 'v3')).toBe('v2')
  })

  test('[pin 8] expire makes them stale', async () => {
    const { fleet, a, b } = await pair()
    await a.expire('k')
    await settle()
    expect(await inL1(fleet, b)).toBeUndefined()
    expect(await inL1(fleet, b, 'k', '6h')).toBe('v1')
    expect(await b.has('k')).toBe(false)
  })

  test.each([
    ['delete', (a: Process) => a.delete('k')],
    ['deleteMany', (a: Process) => a.deleteMany(['j', 'k'])],
    ['pull', (a: Process) => a.pull('k')],
    ['clear', (a: Process) => a.clear()],
  ])('[pin 8] %s removes them', async (_, act) => {
    const { fleet, a, b } = await pair()
    await act(a)
    await settle()
    expect(await inL1(fleet, b, 'k', '6h')).toBeUndefined()
    expect(await b.get({ key: 'k', grace: '6h' })).toBeUndefined()
  })

  test.each([
    ['delete', (a: Process, o: object) => a.delete('k', o)],
    ['deleteMany', (a: Process, o: object) => a.deleteMany(['k'], o)],
    ['expire', (a: Process, o: object) => a.expire('k', o)],
    ['clear', (a: Process, o: object) => a.clear(o)],
  ])('[pin 8] %s is told though L2 failed, suppressed or not', async (_, act) => {
    for (const suppressL2Errors of [true, false]) {
      const { fleet, a, b } = await pair()
      fleet.l2.ail(throwing(new Error('full')))
      const asking = act(a, { suppressL2Errors })
      if (suppressL2Errors) await asking
      else expect(await errorOf(asking)).toBeInstanceOf(errors.E_L2_CACHE_ERROR)
      await settle()
      expect(await inL1(fleet, b)).toBeUndefined()
    }
  })

  test('[pin 8] a write that L2 refused tells nobody, skipL2Write and skipBusNotify neither', async () => {
    const { fleet, a, b, bus } = await pair()
    fleet.l2.ail(throwing(new Error('full')), 'set')
    await a.set('k', 'v2')
    await a.getOrSet({ key: 'k', factory: () => 'v2', forceFresh: true })
    await a.set('k', 'v2', { suppressL2Errors: false }).catch(() => undefined)
    fleet.l2.heal()
    await a.set('k', 'v2', { skipL2Write: true })
    await a.set('k', 'v2', { skipBusNotify: true })
    await a.getOrSet({ key: 'k', factory: () => 'v2', forceFresh: true, skipL2Write: true })
    await a.getOrSet({ key: 'k', factory: (ctx) => (ctx.setOptions({ skipBusNotify: true }), 'v2'), forceFresh: true })
    await settle()
    expect(bus.sent).toEqual([])
    expect(await inL1(fleet, b)).toBe('v1')
  })

  test('[pin 8] nobody hears itself, and what is heard is not said again', async () => {
    const { fleet, a, b, bus } = await pair()
    const heard: unknown[] = []
    for (const process of [a, b]) process.on('bus:message:received', ({ message }) => heard.push(message))
    await a.set('k', 'v2')
    await settle()
    expect(bus.sent).toEqual([{ type: 'set', keys: ['k'], namespace: 'bentocache' }])
    expect(heard).toEqual([{ type: 'set', keys: ['k'] }])
    expect(await inL1(fleet, a)).toBe('v2')
  })

  test('[pin 9] bus events carry keys and type, on both sides', async () => {
    const { a, b } = await pair()
    const events: unknown[] = []
    a.on('bus:message:published', (event) => events.push(['published', event]))
    b.on('bus:message:received', (event) => events.push(['received', event]))
    await a.set('k', 'v2')
    await a.delete('k')
    await a.deleteMany(['x', 'y'])
    await a.expire('k')
    await a.namespace('users').clear()
    const of = (type: string, keys: string[]) => [
      ['received', { message: expect.objectContaining({ type, keys }) }],
      ['published', { message: expect.objectContaining({ type, keys }) }],
    ]
    expect(events).toEqual([
      ...of('set', ['k']), ...of('delete', ['k']), ...of('delete', ['x', 'y']), ...of('expire', ['k']), ...of('clear', []),
    ])
  })

  test('[pin 9] cache:deleted is emitted in key order, and even if the bus fails', async () => {
    const { a, bus } = await pair()
    const deleted: unknown[] = []
    a.on('cache:deleted', (event) => deleted.push(event))
    bus.goDown()
    await a.delete('k')
    await a.deleteMany(['c', 'a', 'b'])
    expect(deleted).toEqual(['k', 'c', 'a', 'b'].map((key) => ({ key, store: 'main' })))
  })

  test('a message that makes no sense is ignored', async () => {
    const { fleet, b, bus } = await pair()
    bus.say({ type: 'nonsense' as any, keys: ['other'] })
    bus.say({ type: 'delete', keys: undefined as any })
    bus.say({ type: 'delete', keys: ['k'], namespace: 7 as any })
    bus.say({ type: 'delete', keys: ['k'], namespace: 'elsewhere' })
    bus.say({ type: 'clear', keys: [], namespace: 'bentocacheX' })
    expect(await inL1(fleet, b)).toBe('v1')
  })

  test('a process that has an L2 and a bus but no L1 says what it does and obeys', async () => {
    const { fleet, b } = await pair()
    const c = fleet.process('L2+bus', { ttl: '1h' })
    await c.set('k', 'v2')
    await settle()
    expect(await inL1(fleet, b)).toBeUndefined()
    expect(await b.get('k')).toBe('v2')
  })
})

describe('that is away', () => {
  const VERBS: [string, (a: Process) => Promise<unknown>, unknown][] = [
    ['set', (a) => a.set('k', 'v'), true],
    ['getOrSet', (a) => a.getOrSet('k', () => 'v'), 'v'],
    ['delete', (a) => a.delete('k'), false],
    ['deleteMany', (a) => a.deleteMany(['k']), true],
    ['expire', (a) => a.expire('k'), true],
    ['deleteByTag', (a) => a.deleteByTag(['t']), true],
    ['clear', (a) => a.clear(), undefined],
    ['pull', (a) => a.pull('k'), undefined],
  ]
  test.each(VERBS)('[18] at the start: %s works, nothing is unhandled, the trouble is logged', async (_, act, answer) => {
    const fleet = new Fleet()
    const logger = new LogBook()
    fleet.bus.goDown(new Error('ECONNREFUSED'))
    const unhandled = await unhandledDuring(async () => {
      const a = fleet.process('L1+L2+bus', { logger })
      expect(await fleet.clock.run(act(a))).toBe(answer)
      await fleet.clock.advance(10_000)
    })
    expect(unhandled).toEqual([])
    expect(logger.of('error', /could not subscribe/)[0]!.fields.err.message).toBe('ECONNREFUSED')
    expect(logger.of('error', /could not publish/).length).toBeGreaterThan(0)
  })

  test('[18] at the start, and comes up: it is subscribed to, and the messages kept meanwhile arrive', async () => {
    const fleet = new Fleet()
    const options = { ttl: '1h' }
    fleet.bus.goDown()
    const [a, b] = [fleet.process('L1+L2+bus', options), fleet.process('L1+L2+bus', options)]
    await a.set('k', 'v1')
    expect(await b.get('k')).toBe('v1')
    await a.set('k', 'v2')
    expect(await inL1(fleet, b)).toBe('v1')
    fleet.bus.comeBack({ isNoticed: false })
    await fleet.clock.advance(4_000)
    expect(await b.get('k')).toBe('v2')
    await b.set('k', 'v3')
    await settle()
    expect(await a.get('k')).toBe('v3')
  })

  test('[18] and is disconnected before it came up: nothing is tried any more', async () => {
    const fleet = new Fleet()
    fleet.bus.goDown()
    const a = fleet.process()
    await a.set('k', 'v')
    await fleet.clock.run(a.disconnect())
    const attempts = fleet.bus.attempts
    await fleet.clock.advance(60_000)
    expect(fleet.bus.attempts).toBe(attempts)
    expect(fleet.clock.pending).toBe(0)
  })

  test('[18] a bus that never answers delays a verb by l2Timeout at most', async () => {
    const fleet = new Fleet()
    const a = fleet.process('L1+bus')
    fleet.bus.hang()
    const startedAt = fleet.clock.now()
    expect(await fleet.clock.run(a.set('k', 'v'))).toBe(true)
    expect(fleet.clock.now() - startedAt).toBe(1_000)
    expect(await fleet.clock.run(a.set('k', 'w'))).toBe(true)
    expect(fleet.clock.now() - startedAt).toBe(1_000) // in trouble already: nobody waits for it
  })
})

describe('the retry queue', () => {
  const down = async (options: ProcessOptions = {}) => {
    const two = await pair(options)
    two.bus.goDown()
    return two
  }

  test('[pin 12] tries again after 2 s by default', async () => {
    const { fleet, a, b, bus } = await down()
    await a.set('k', 'v2')
    bus.comeBack({ isNoticed: false })
    await fleet.clock.advance(1_999)
    expect(bus.sent).toEqual([])
    expect(await inL1(fleet, b)).toBe('v1')
    await fleet.clock.advance(1)
    expect(bus.sent).toEqual([{ type: 'set', keys: ['k'], namespace: 'bentocache' }])
    expect(await b.get('k')).toBe('v2')
  })

  test.each([['100ms', 100], [350, 350]])('[pin 12] tries again after the interval it is given: %s', async (retryInterval, ms) => {
    const { fleet, a, bus } = await down({ retryQueue: { retryInterval } })
    await a.set('k', 'v2')
    bus.comeBack({ isNoticed: false })
    await fleet.clock.advance(ms - 1)
    expect(bus.sent).toHaveLength(0)
    await fleet.clock.advance(1)
    expect(bus.sent).toHaveLength(1)
  })

  test('[pin 12] tries again as long as it takes', async () => {
    const { fleet, a, bus } = await down()
    await a.set('k', 'v2')
    await fleet.clock.advance(60_000)
    expect(bus.attempts).toBe(2 + 30) // set v1, set v2, and each 2 s
    bus.comeBack({ isNoticed: false })
    await fleet.clock.advance(2_000)
    expect(bus.sent).toHaveLength(1)
    await fleet.clock.advance(60_000)
    expect(bus.sent).toHaveLength(1)
  })

  test('[pin 12] tries at once when the transport says that it is back', async () => {
    const { a, b, bus } = await down()
    await a.set('k', 'v2')
    bus.comeBack()
    await settle()
    expect(bus.sent).toHaveLength(1)
    expect(await b.get('k')).toBe('v2')
  })

  test('[pin 12] without an interval waits for the transport alone', async () => {
    const { fleet, a, bus } = await down({ retryQueue: { retryInterval: false } })
    await a.set('k', 'v2')
    bus.trouble = undefined
    await fleet.clock.advance(3_600_000)
    expect(bus.sent).toEqual([])
    bus.comeBack()
    await settle()
    expect(bus.sent).toHaveLength(1)
  })

  test('[pin 12] disabled, forgets what could not be sent', async () => {
    const { fleet, a, bus } = await down({ retryQueue: { enabled: false } })
    await a.set('k', 'v2')
    bus.comeBack()
    await fleet.clock.advance(60_000)
    expect(bus.sent).toEqual([])
    await a.set('k', 'v3')
    expect(bus.sent).toHaveLength(1)
  })

  test('[pin 12] with a maxSize of 20, the newest 20 of 30 arrive, in order', async () => {
    const { fleet, a, bus } = await down({ retryQueue: { maxSize: 20 } })
    for (let i = 0; i < 30; i++) await a.set(`k${i}`, i)
    bus.comeBack({ isNoticed: false })
    await fleet.clock.advance(2_000)
    expect(bus.sent.map(({ keys }) => keys[0])).toEqual(Array.from({ length: 20 }, (_, i) => `k${i + 10}`))
  })

  test('[pin 12] keeps equal messages once', async () => {
    const { fleet, a, bus } = await down()
    for (let i = 0; i < 5; i++) await a.set('k', i)
    await a.delete('k')
    for (let i = 0; i < 5; i++) await a.delete('k')
    bus.comeBack({ isNoticed: false })
    await fleet.clock.advance(2_000)
    expect(bus.sent.map(({ type }) => type)).toEqual(['set', 'delete'])
  })

  test('[pin 12] after the recovery the latest writer has won, everywhere', async () => {
    const { fleet, a, b, bus } = await down()
    await a.set('k', 'of a')
    await b.set('k', 'of b')
    expect([await a.get('k'), await b.get('k')]).toEqual(['of a', 'of b'])
    bus.comeBack()
    await settle()
    expect([await a.get('k'), await b.get('k')]).toEqual(['of b', 'of b'])
    expect(fleet.stored('k')?.value).toBe('of b')
  })

  test('[N9] a message that can never be encoded is dropped and logged; later ones go on', async () => {
    const logger = new LogBook()
    const { fleet, a, bus } = await pair({ logger })
    bus.trouble = ({ keys }) => (keys[0] === 'bad' ? new TypeError('cannot encode') : undefined)
    await a.set('bad', 1)
    expect(logger.of('error', /could not publish/)[0]!.fields.err.message).toBe('cannot encode')
    const attempts = bus.attempts
    await fleet.clock.advance(60_000)
    expect(bus.attempts).toBe(attempts)
    await a.set('good', 1)
    expect(bus.sent.map(({ keys }) => keys[0])).toEqual(['good'])
  })

  test('[N9] one that turns out so in the queue blocks nobody either', async () => {
    const { fleet, a, bus } = await down()
    await a.set('bad', 1)
    await a.set('good', 1)
    bus.trouble = ({ keys }) => (keys[0] === 'bad' ? new TypeError('cannot encode') : undefined)
    await fleet.clock.advance(2_000)
    expect(bus.sent.map(({ keys }) => keys[0])).toEqual(['good'])
    await a.set('later', 1)
    await settle()
    expect(bus.sent.map(({ keys }) => keys[0])).toEqual(['good', 'later'])
  })

  test('[N9] keys of other types never get that far: E_INVALID_KEY, on every verb', async () => {
    const { a, bus } = await pair()
    for (const key of [undefined, null, {}, [], ['k'], true, 1n, Symbol('k'), () => 'k'] as any[]) {
      for (const asking of [
        a.get({ key }), a.set({ key, value: 1 }), a.setForever({ key, value: 1 }), a.getOrSet({ key, factory: () => 1 }),
        a.getOrSetForever({ key, factory: () => 1 }), a.has({ key }), a.missing({ key }), a.pull({ key }), a.delete({ key }),
        a.expire({ key }), a.deleteMany([key]), a.deleteMany({ keys: ['k', key] }), a.namespace('x').delete({ key }),
      ]) {
        const error = await errorOf(asking)
        expect(error).toBeInstanceOf(errors.E_INVALID_KEY)
        expect(error).toBeInstanceOf(TypeError)
        expect(error.code).toBe('E_INVALID_KEY')
      }
    }
    expect(bus.sent).toEqual([])
  })
})
