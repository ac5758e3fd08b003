import { describe, expect, test } from 'vitest'
import { throwing } from '../support/chaos.js'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, errorOf } from '../support/stores.js'

const boom = new Error('boom')

describe('the logger', () => {
  test('is told of the construction, by its store\'s child, and of each verb', async () => {
    const logger = new LogBook()
    const bento = new Fleet().process('L1', { logger })
    expect(logger.of('trace').length).toBeGreaterThanOrEqual(1)
    await bento.set('k', 'v')
    await bento.get('k')
    await bento.getOrSet('k', () => 'never')
    await bento.delete('k')
    const debug = logger.of('debug')
    expect(debug.every(({ bindings }) => bindings.cache === 'main')).toBe(true)
    expect(debug.map(({ text }) => text)).toEqual(expect.arrayContaining(['get', 'hit', 'getOrSet', 'delete']))
    expect(debug.filter(({ fields }) => fields.cacheName === 'main').every(({ fields }) => fields.key === 'k')).toBe(true)
    expect([...logger.of('warn'), ...logger.of('error')]).toEqual([])
  })

  test('with nothing but child, trace and debug is enough where nothing goes wrong', async () => {
    let told = 0
    const logger: any = { trace: () => told++, debug: () => told++, child: () => logger }
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { logger, ttl: '1m', grace: '1h' })
    expect(told).toBeGreaterThanOrEqual(1)
    await bento.getOrSet('k', () => 'v')
    await fleet.clock.advance(60_000)
    expect(await bento.getOrSet('k', () => 'w')).toBe('v')
    await settle()
    expect(await bento.get('k')).toBe('w')
    await bento.clear()
  })

  test('without child is used as it is', async () => {
    const book = new LogBook()
    const { child: _, ...logger } = { ...book, child: undefined }
    const bento = new Fleet().process('L1', { logger: logger as never })
    await bento.get('k')
    expect(book.of('debug').length).toBeGreaterThan(0)
  })

  test('that is missing costs no operation', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2+bus', { onFactoryError: () => { throw boom } })
    fleet.l2.ail(throwing())
    fleet.bus.goDown()
    expect(await bento.set('k', 'v')).toBe(true)
    expect(await errorOf(bento.getOrSet('j', () => Promise.reject(boom)))).toMatchObject({ cause: boom })
  })

  test.each([
    ['a factory fails', 'warn', { key: 'k', err: expect.objectContaining({ code: 'E_FACTORY_ERROR', cause: boom }) },
      async (bento: any) => errorOf(bento.getOrSet('k', () => Promise.reject(boom)))],
    ['L2 fails', 'error', { err: boom }, async (bento: any, fleet: Fleet) => (fleet.l2.ail(throwing(boom)), bento.get('k'))],
    ['the bus fails', 'error', { err: boom, message: { type: 'set', keys: ['k'], namespace: 'bentocache' } },
      async (bento: any, fleet: Fleet) => (fleet.bus.goDown(boom), bento.set('k', 'v'))],
    ['onFactoryError throws', 'error', { err: boom, key: 'k' },
      async (bento: any) => errorOf(bento.getOrSet('k', () => Promise.reject(new Error('no')), { onFactoryError: () => { throw boom } }))],
    ['a value cannot be stored', 'warn', { err: expect.any(TypeError), key: 'k' }, async (bento: any) => bento.getOrSet('k', () => 5n)],
    ['an option is unknown', 'warn', { option: 'gracePeriod' }, async (bento: any) => bento.getOrSet('k', () => 1, { gracePeriod: {} })],
  ] as const)('is told once when %s, at %s', async (_, level, fields, act) => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const bento = fleet.process('L1+L2+bus', { logger })
    await act(bento, fleet)
    expect(logger.of(level).map((line) => line.fields)).toEqual([fields])
  })

  test('is told once that L2 went and once that it came back, however many operations met that', async () => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const bento = fleet.process('L1+L2', { logger })
    fleet.l2.ail(throwing(Object.assign(new Error('away'), { code: 'ECONNREFUSED' })))
    for (let n = 0; n < 5; n++) await bento.get('k')
    expect(logger.of('error', /away/)).toHaveLength(1)
    fleet.l2.heal()
    await fleet.clock.advance(500)
    await bento.get('k')
    await settle()
    expect(logger.of('info', /again/)).toHaveLength(1)
    expect(logger.of('error').length).toBeLessThanOrEqual(2)
  })

  test('of a driver gets the root logger, as 1.6.1 hands it on', async () => {
    const { BentoCache, bentostore } = await import('../../src/index.js')
    const logger = new LogBook()
    let config: any
    const { factory } = new Fleet().l2.driver()
    const l2 = { options: { own: 1 }, factory: (given: any) => ((config = given), factory(given)) }
    new BentoCache({ logger, prefix: 'app', default: 'main', stores: { main: bentostore().useL2Layer(l2) } }).use()
    expect(config).toMatchObject({ prefix: 'app', own: 1 })
    expect(config.logger).toBe(logger)
  })

  test('is told of no fatality, and of nothing at info while a factory runs well', async () => {
    const logger = new LogBook()
    const bento = new Fleet().process('L1+L2', { logger })
    await bento.getOrSet('k', () => 'v')
    expect(logger.of('fatal')).toEqual([])
    expect(logger.of('warn')).toEqual([])
  })
})
