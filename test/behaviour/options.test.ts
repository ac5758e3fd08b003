import { describe, expect, test } from 'vitest'
import { BentoCache, bentostore, errors } from '../../src/index.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, SHAPES, Work, errorOf } from '../support/stores.js'
import type { Process } from '../support/stores.js'

const DURATIONS = ['ttl', 'grace', 'graceBackoff', 'timeout', 'hardTimeout', 'lockTimeout', 'lockAge', 'l2Timeout'] as const
const NO_DURATION: [string, unknown][] = [
  ["'banana'", 'banana'],
  ['an empty text', ''],
  ["'1d12h'", '1d12h'],
  ["'10 parsecs'", '10 parsecs'],
  ['NaN', NaN],
  ['true', true],
  ['an object', {}],
  ['an array', [10]],
  ['a function', () => 10],
  ['a bigint', 10n],
]

const thrownBy = (work: () => unknown): any => {
  try {
    work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

function expectInvalidOption(error: any, option: string, received?: string) {
  expect(error).toBeInstanceOf(errors.E_INVALID_OPTION)
  expect(error).toBeInstanceOf(TypeError)
  expect(error).toMatchObject({ code: 'E_INVALID_OPTION', option })
  expect(error.message).toContain(`"${option}"`)
  expect(error.message).toContain(received === undefined ? 'received ' : `received ${received}`)
  expect(error.message).toContain('allowed is ')
}

describe('bad input', () => {
  describe.each(NO_DURATION)('%s as a duration', (_, duration: any) => {
    test.each(DURATIONS)('is refused by name, %s: verbs reject, constructors and builders throw', async (option) => {
      const fleet = new Fleet()
      const bento = fleet.process('L1+L2')
      const options = { [option]: duration }
      for (const view of [bento, bento.use('main'), bento.namespace('users')]) {
        for (const asking of [
          view.set('k', 1, options),
          view.set({ key: 'k', value: 1, ...options }),
          view.setForever({ key: 'k', value: 1, ...options }),
          view.getOrSet('k', () => 1, options),
          view.getOrSet({ key: 'k', factory: () => 1, ...options }),
          view.getOrSetForever({ key: 'k', factory: () => 1, ...options }),
          view.get({ key: 'k', ...options }),
          view.has({ key: 'k', ...options }),
          view.delete({ key: 'k', ...options }),
          view.expire({ key: 'k', ...options }),
          view.deleteMany({ keys: ['k'], ...options }),
          view.deleteByTag({ tags: ['t'], ...options }),
          view.clear(options),
        ]) {
          expectInvalidOption(await errorOf(asking), option)
        }
      }
      expect(fleet.l2.kept.size).toBe(0)
      expectInvalidOption(thrownBy(() => bentostore(options)), option)
      expectInvalidOption(thrownBy(() => new BentoCache({ ...options, default: 'm', stores: { m: bentostore() } })), option)
    })
  })

  test('an option is read on every call, on those that hit and those that follow too', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2')
    const work = new Work()
    const asking = bento.getOrSet('k', work.factory)
    await settle()
    expectInvalidOption(await errorOf(bento.getOrSet('k', work.factory, { ttl: 'banana' })), 'ttl', '"banana"')
    work.give('v')
    expect(await asking).toBe('v')
  })

  test.each([['graceBackoff'], ['timeout'], ['hardTimeout'], ['lockTimeout'], ['lockAge'], ['l2Timeout']] as const)(
    'a negative %s is refused: nobody can wait for less than nothing',
    async (option) => {
      const bento = new Fleet().process('L1')
      expectInvalidOption(await errorOf(bento.getOrSet('k', () => 1, { [option]: -1 })), option, '-1')
      expectInvalidOption(thrownBy(() => bentostore({ [option]: '-1s' })), option, '"-1s"')
    }
  )

  test('grace: true says too little', async () => {
    const bento = new Fleet().process('L1')
    expectInvalidOption(await errorOf(bento.getOrSet('k', () => 1, { grace: true as any })), 'grace', 'true')
    expectInvalidOption(thrownBy(() => bentostore({ grace: true as any })), 'grace', 'true')
  })

  test.each([
    ['a text', 'xy'],
    ['null', null],
    ['a set', new Set(['x'])],
    ['an array of numbers', [1]],
    ['an array with a hole', ['x', undefined]],
    ['an object', { 0: 'x' }],
  ])('tags that are %s are refused by name', async (_, tags: any) => {
    const bento = new Fleet().process('L1+L2')
    for (const asking of [
      bento.set('k', 1, { tags }),
      bento.set({ key: 'k', value: 1, tags }),
      bento.getOrSet('k', () => 1, { tags }),
      bento.getOrSetForever('k', () => 1, { tags }),
      bento.deleteByTag({ tags }),
      bento.deleteByTag(tags),
    ]) {
      expectInvalidOption(await errorOf(asking), 'tags')
    }
    for (const add of [(ctx: any) => ctx.setTags(tags), (ctx: any) => ctx.setOptions({ tags })]) {
      const error = await errorOf(bento.getOrSet('k', (ctx) => (add(ctx), 1)))
      expect(error).toBeInstanceOf(errors.E_FACTORY_ERROR)
      expectInvalidOption(error.cause, 'tags')
    }
    expect(await bento.has('k')).toBe(false)
  })

  test.each([
    ['setTtl', (ctx: any) => ctx.setTtl('banana'), 'ttl'],
    ['setOptions', (ctx: any) => ctx.setOptions({ ttl: NaN }), 'ttl'],
    ['setOptions', (ctx: any) => ctx.setOptions({ grace: 'banana' }), 'grace'],
    ['setOptions', (ctx: any) => ctx.setOptions({ graceBackoff: -1 }), 'graceBackoff'],
  ])('%s with what is no duration fails the factory', async (_, set, option) => {
    const bento = new Fleet().process('L1')
    const error = await errorOf(bento.getOrSet('k', (ctx) => (set(ctx), 1)))
    expect(error).toBeInstanceOf(errors.E_FACTORY_ERROR)
    expectInvalidOption(error.cause, option)
  })

  test.each([
    ['undefined', undefined, 'undefined'],
    ['null', null, 'undefined'],
    ['a boolean', true, 'true'],
    ['an array', ['k'], 'an array'],
    ['an object without a key', {}, 'undefined'],
    ['a function', () => 'k', 'a function'],
    ['a symbol', Symbol('k'), 'Symbol(k)'],
  ])('%s as the first argument is told as what it is: E_INVALID_KEY', async (_, first: any, received) => {
    const fleet = new Fleet()
    const root = fleet.process('L1+L2')
    for (const view of [root, root.namespace('users')]) {
      for (const asking of [
        view.get(first), view.get(first, 1), view.set(first, 1), view.setForever(first, 1), view.getOrSet(first, () => 1),
        view.getOrSetForever(first, () => 1), view.has(first), view.missing(first), view.pull(first), view.delete(first), view.expire(first),
      ]) {
        const error = await errorOf(asking)
        expect(error).toBeInstanceOf(errors.E_INVALID_KEY)
        expect(error).toBeInstanceOf(TypeError)
        expect(error.message).toMatch(/^Invalid key: received .*, allowed is a string/)
        if (!Array.isArray(first)) expect(error.message).toContain(`received ${received},`)
      }
    }
    expect(fleet.l2.kept.size).toBe(0)
  })

  test('[N9] a number as the first argument is the key it looks like', async () => {
    const bento = new Fleet().process('L1+L2')
    const key = 42 as unknown as string
    await bento.set(key, 'v', { ttl: '1h' })
    expect(await bento.get('42')).toBe('v')
    expect(await bento.getOrSet(key, () => 'w')).toBe('v')
    expect(await bento.namespace('users').getOrSet(key, () => 'u')).toBe('u')
    expect(await bento.get('users:42')).toBe('u')
    expect([await bento.has(key), await bento.delete(key), await bento.has(key)]).toEqual([true, true, false])
  })

  test.each([undefined, null, 'k', {}, 7] as any[])('deleteMany of %j: keys must be an array', async (keys) => {
    const bento = new Fleet().process('L1+L2')
    expectInvalidOption(await errorOf(bento.deleteMany({ keys })), 'keys')
    expectInvalidOption(await errorOf(bento.deleteMany(keys)), 'keys')
  })

  test.each([undefined, null, {}, true] as any[])('a namespace called %j is refused', (name) => {
    const bento = new Fleet().process('L1')
    const error = thrownBy(() => bento.namespace(name))
    expect(error).toBeInstanceOf(errors.E_INVALID_KEY)
  })

  test('an unknown store is refused, and the error names those there are', () => {
    const bento = new BentoCache({ default: 'a', stores: { a: bentostore(), b: bentostore() } })
    for (const name of ['c', '', '__proto__', 'toString', 'constructor'] as any[]) {
      const error = thrownBy(() => bento.use(name))
      expectInvalidOption(error, 'store', JSON.stringify(name))
      expect(error.message).toContain('"a", "b"')
    }
    expect(bento.use('b').name).toBe('b')
  })

  test('a default that does not exist is told by the first use: use() throws, verbs reject', async () => {
    const bento = new BentoCache({ default: 'c' as 'a', stores: { a: bentostore() } })
    expectInvalidOption(thrownBy(() => bento.use()), 'store', '"c"')
    expectInvalidOption(await errorOf(bento.get('k')), 'store', '"c"')
    expectInvalidOption(await errorOf(bento.getOrSet('k', () => 1)), 'store', '"c"')
    const none = new BentoCache({ stores: { a: bentostore() } } as any)
    expect(thrownBy(() => none.use()).message).toBe('No cache driver selected')
    expect((await errorOf(none.get('k'))).message).toBe('No cache driver selected')
  })

  test('stores that are none are refused when the cache is made', () => {
    expectInvalidOption(thrownBy(() => new BentoCache({ default: 'a' } as any)), 'stores', 'undefined')
    expectInvalidOption(thrownBy(() => new BentoCache({ default: 'a', stores: 'a' } as any)), 'stores', '"a"')
    expectInvalidOption(thrownBy(() => new BentoCache({ default: 'a', stores: { a: {} } } as any)), 'stores.a', 'an object')
    expectInvalidOption(thrownBy(() => new BentoCache({ default: 'a', stores: { a: null } } as any)), 'stores.a', 'null')
  })

  test('a layer that is no driver is refused by the builder', () => {
    expectInvalidOption(thrownBy(() => bentostore().useL1Layer(memoryDriver as any)), 'useL1Layer', 'a function')
    expectInvalidOption(thrownBy(() => bentostore().useL2Layer(undefined as any)), 'useL2Layer', 'undefined')
    expectInvalidOption(thrownBy(() => bentostore().useBus({} as any)), 'useBus', 'an object')
  })

  test('options of a store that contradict each other or its tiers are told by its first use', async () => {
    const { l2 } = new Fleet()
    const store = (options: any, driver = memoryDriver()) =>
      new BentoCache({ default: 'm', stores: { m: bentostore(options).useL1Layer(driver).useL2Layer(l2.driver()) } })
    const WRONG: [any, string, string][] = [
      [{ leases: 'yes' }, 'E_INVALID_OPTION', 'leases'],
      [{ leases: { ttl: 'banana' } }, 'E_INVALID_OPTION', 'leases.ttl'],
      [{ leases: { lossGrace: -1 } }, 'E_INVALID_OPTION', 'leases.lossGrace'],
      [{ leases: { inline: 'much' } }, 'E_INVALID_OPTION', 'leases.inline'],
      [{ onUnverified: 'hope' }, 'E_INVALID_OPTION', 'onUnverified'],
      [{ maxL1Staleness: '1s' }, 'E_INVALID_OPTION', 'maxL1Staleness'], // nothing here could verify it
      [{ l2CircuitBreakerDuration: 'banana' }, 'E_INVALID_OPTION', 'l2CircuitBreakerDuration'],
      [{ l2CircuitBreakerDuration: -1 }, 'E_INVALID_ARGUMENTS_EXCEPTION', 'l2CircuitBreakerDuration'],
    ]
    for (const [options, code, name] of WRONG) {
      const error = thrownBy(() => store(options).use())
      expect([name, error.code]).toEqual([name, code])
      expect(error.message).toContain(name)
      expect((await errorOf(store(options).get('k'))).code).toBe(code)
    }
    const MEMORY: [any, string, string][] = [
      [{ serialize: false, maxSize: '1mb' }, 'E_INVALID_ARGUMENTS_EXCEPTION', 'Cannot use maxSize or maxEntrySize when serialize is set to `false`'],
      [{ serialize: false, maxEntrySize: 10 }, 'E_INVALID_ARGUMENTS_EXCEPTION', 'Cannot use maxSize or maxEntrySize when serialize is set to `false`'],
      [{ maxItems: 0 }, 'E_INVALID_OPTION', 'maxItems'],
      [{ maxItems: '10' }, 'E_INVALID_OPTION', 'maxItems'],
      [{ maxSize: 'much' }, 'E_INVALID_OPTION', 'maxSize'],
      [{ maxSize: -1 }, 'E_INVALID_OPTION', 'maxSize'],
      [{ maxEntrySize: NaN }, 'E_INVALID_OPTION', 'maxEntrySize'],
      [{ maxTtl: 'banana' }, 'E_INVALID_OPTION', 'maxTtl'],
    ]
    for (const [options, code, name] of MEMORY) {
      const error = thrownBy(() => store({}, memoryDriver(options)).use())
      expect([name, error.code]).toEqual([name, code])
      expect(error.message).toContain(name)
    }
  })

  test.each([
    [{ maxSize: 0 }, 'retryQueue.maxSize'],
    [{ maxSize: 'all' }, 'retryQueue.maxSize'],
    [{ retryInterval: 'banana' }, 'retryQueue.retryInterval'],
    [{ retryInterval: -1 }, 'retryQueue.retryInterval'],
  ] as any[])('a retry queue of %j is refused', (retryQueue, option) => {
    expectInvalidOption(thrownBy(() => new Fleet().process('L1+bus', { retryQueue })), option)
  })

  test('shareFailures knows two words', async () => {
    const bento = new Fleet().process('L1')
    expectInvalidOption(await errorOf(bento.getOrSet('k', () => 1, { shareFailures: 'maybe' as any })), 'shareFailures', '"maybe"')
  })

  test('null as options is no options', async () => {
    const bento = new Fleet().process('L1+L2')
    const none = null as any
    expect(await bento.set('k', 1, none)).toBe(true)
    expect(await bento.getOrSet('k', () => 2, none)).toBe(1)
    expect(await bento.getOrSet('j', () => 2, none)).toBe(2)
    expect(await bento.get('k', 0, none)).toBe(1)
    expect(await bento.has('k', none)).toBe(true)
    expect(await bento.delete('k', none)).toBe(true)
    expect(await bento.expire('k', none)).toBe(true)
    expect(await bento.deleteMany(['k'], none)).toBe(true)
    expect(await bento.deleteByTag(['t'], none)).toBe(true)
    expect(await bento.clear(none)).toBeUndefined()
  })
})

describe('an unknown option', () => {
  const warnings = (logger: LogBook) => logger.of('warn', /unknown option/).map(({ fields }) => fields.option)

  test('is ignored, with one warning per name, whatever the level and however often', async () => {
    const logger = new LogBook()
    const bento = new Fleet().process('L1+L2', {
      logger,
      ...({ earlyExpiration: 0.8 } as object),
      store: { ...({ gracePeriod: { enabled: true, duration: '6h' } } as object) },
    })
    expect(warnings(logger)).toEqual(['earlyExpiration', 'gracePeriod'])
    const outdated = { timeouts: { soft: 1, hard: 2 }, gracePeriod: {}, earlyExpiration: 1 } as object
    for (let i = 0; i < 3; i++) {
      expect(await bento.getOrSet({ key: `k${i}`, factory: () => i, ...outdated })).toBe(i)
      expect(await bento.getOrSet(`k${i}`, () => 'w', outdated)).toBe(i)
      await bento.namespace('users').set('k', 1, { TTL: 1 } as object)
      await bento.clear({ tiemout: 3 } as object)
    }
    expect(warnings(logger)).toEqual(['earlyExpiration', 'gracePeriod', 'timeouts', 'TTL', 'tiemout'])
    expect(logger.of('warn', /unknown option "timeouts"/)[0]!.bindings).toMatchObject({ cache: 'main' })
  })

  test('is warned about once per store', async () => {
    const logger = new LogBook()
    const bento = new BentoCache({ logger, default: 'a', stores: { a: bentostore(), b: bentostore() } })
    for (const name of ['a', 'b', 'a'] as const) await bento.use(name).get({ key: 'k', dfault: 1 } as any)
    expect(warnings(logger)).toEqual(['dfault', 'dfault'])
  })

  test('does nothing where there is no logger', async () => {
    const bento = new Fleet().process('L1', { ...({ prefixx: 'p' } as object) })
    expect(await bento.set('k', 1, { ttl: '1h', tll: 1 } as object)).toBe(true)
    expect(await bento.get('k')).toBe(1)
  })

  test('every known option is known at every level that may have it', async () => {
    const logger = new LogBook()
    const common = {
      ttl: '1h', grace: '2h', graceBackoff: '1s', timeout: 1, hardTimeout: 1, lockTimeout: 1, lockAge: 1, l2Timeout: 1, forceFresh: false,
      suppressL2Errors: true, shareFailures: 'off' as const, onFactoryError: () => {},
    }
    const store = { ...common, prefix: 'p', l2CircuitBreakerDuration: 1, leases: false, onUnverified: 'serve' as const }
    const serializer = { serialize: JSON.stringify, deserialize: JSON.parse }
    const bento = new Fleet().process('L1+L2+bus', {
      ...store, store, logger, serializer, internalOperationWrapper: (work) => work(), waitUntil: () => {}, plugins: [],
    })
    await bento.getOrSet({ key: 'k', factory: () => 1, tags: ['t'], skipL2Write: false, skipBusNotify: false, ...common })
    await bento.set({ key: 'k', value: 1, tags: ['t'], skipL2Write: false, skipBusNotify: false, ...common })
    await bento.get({ key: 'k', defaultValue: 1, grace: '1h', graceBackoff: 1, suppressL2Errors: true, l2Timeout: 1 })
    await bento.deleteMany({ keys: ['k'], suppressL2Errors: true })
    await bento.deleteByTag({ tags: ['t'], suppressL2Errors: true })
    expect(warnings(logger)).toEqual([])
  })
})

describe('levels', () => {
  const ttlOf = (fleet: Fleet, key: string) => fleet.stored(key)!.ttl

  test('a call\'s option is stronger than the store\'s, the store\'s than the cache\'s, the cache\'s than the default', async () => {
    for (const [global, store, call, expected] of [
      [undefined, undefined, undefined, 30 * 60_000],
      ['1h', undefined, undefined, 3_600_000],
      ['1h', '2h', undefined, 7_200_000],
      ['1h', '2h', '3h', 10_800_000],
      ['1h', undefined, 250, 250],
      [undefined, '2h', null, Infinity],
    ] as const) {
      const fleet = new Fleet()
      const options = global === undefined ? {} : { ttl: global }
      const bento = fleet.process('L1+L2', { ...options, store: store === undefined ? {} : { ttl: store } })
      const own = call === undefined ? {} : { ttl: call }
      await bento.set('s', 1, own)
      await bento.getOrSet('c', () => 1, own)
      await bento.namespace('n').set({ key: 's', value: 1, ...own })
      expect([ttlOf(fleet, 's'), ttlOf(fleet, 'c'), ttlOf(fleet, 'n:s')]).toEqual([expected, expected, expected])
    }
  })

  test('what the factory\'s context says is the strongest, up to the moment the value is stored', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { ttl: '1h' })
    const work = new Work()
    const asking = bento.getOrSet('k', work.factory, { ttl: '2h', hardTimeout: 50 })
    asking.catch(() => undefined)
    await fleet.clock.advance(50)
    expect((await errorOf(asking)).code).toBe('E_FACTORY_HARD_TIMEOUT')
    work.contexts[0]!.setOptions({ ttl: '3h' })
    work.give('v')
    await settle()
    expect(ttlOf(fleet, 'k')).toBe(3 * 3_600_000)
  })

  test('setForever and getOrSetForever keep for ever, whatever store and cache say; a ttl of their own wins', async () => {
    const fleet = new Fleet()
    const bento = fleet.process('L1+L2', { ttl: '1h', store: { ttl: '2h' } })
    await bento.setForever('s', 1)
    await bento.getOrSetForever('c', () => 1)
    await bento.setForever({ key: 't', value: 1, ttl: 500 })
    await bento.getOrSetForever({ key: 'u', factory: () => 1, ...({ ttl: 500 } as object) })
    expect(['s', 'c', 't', 'u'].map((key) => ttlOf(fleet, key))).toEqual([Infinity, Infinity, 500, 500])
  })

  test.each(SHAPES)('skipL2Write, skipBusNotify and tags are a call\'s alone (%s)', async (shape) => {
    const fleet = new Fleet()
    const bento = fleet.process(shape, { ...({ skipL2Write: true, skipBusNotify: true, tags: ['t'] } as object) })
    await bento.set('k', 1)
    await bento.deleteByTag(['t'])
    expect(await bento.get('k')).toBe(1)
    expect(fleet.stored('k') !== undefined).toBe(shape !== 'L1')
  })

  test('a stray key, value or factory among positional options does not win', async () => {
    const bento = new Fleet().process('L1')
    const stray = { key: 'x', value: 'x', factory: () => 'x', defaultValue: 'x', keys: ['x'], tags: ['t'] } as object
    await bento.set('k', 'v', stray)
    expect([await bento.get('k'), await bento.has('x')]).toEqual(['v', false])
    expect(await bento.getOrSet('c', () => 'v', stray)).toBe('v')
    expect(await bento.get('c', 'd', stray)).toBe('v')
    expect(await bento.get('nothing', 'd', stray)).toBe('d')
    expect(await bento.delete('c', stray)).toBe(true)
    expect(await bento.deleteMany(['k'], stray)).toBe(true)
    expect(await bento.has('k', stray)).toBe(false)
  })

  test('positional and object form mean the same, on every view', async () => {
    const fleet = new Fleet()
    const root: Process = fleet.process('L1+L2')
    for (const [view, path] of [[root, ''], [root.use(), ''], [root.namespace('users'), 'users:']] as const) {
      await view.set('a', 1, { ttl: 500, tags: ['t'] })
      await view.set({ key: 'b', value: 1, ttl: 500, tags: ['t'] })
      expect(fleet.stored(`${path}a`)).toMatchObject({ value: 1, ttl: 500, tags: ['t'] })
      expect(fleet.stored(`${path}b`)).toEqual(fleet.stored(`${path}a`))
      expect([await view.get('a'), await view.get({ key: 'a' })]).toEqual([1, 1])
      expect([await view.get('x', 'd'), await view.get({ key: 'x', defaultValue: 'd' })]).toEqual(['d', 'd'])
      expect([await view.has('a'), await view.has({ key: 'a' }), await view.missing('a'), await view.missing({ key: 'a' })]).toEqual([true, true, false, false])
      expect([await view.expire('a'), await view.expire({ key: 'b' })]).toEqual([true, true])
      expect([await view.has('a'), await view.has('b')]).toEqual([false, false])
      await view.set('a', 1)
      await view.set('b', 2)
      expect([await view.pull('a'), await view.pull({ key: 'b' })]).toEqual([1, 2])
      await view.set('a', 1)
      await view.set('b', 2)
      expect([await view.delete('a'), await view.delete({ key: 'b' }), await view.delete('a')]).toEqual([true, true, false])
      await view.set('a', 1)
      await view.set('b', 2)
      expect([await view.deleteMany(['a']), await view.deleteMany({ keys: ['b'] })]).toEqual([true, true])
      expect(await view.deleteMany([])).toBe(true)
      expect([await view.has('a'), await view.has('b')]).toEqual([false, false])
      await view.set('a', 1, { tags: ['t'] })
      await view.set('b', 2, { tags: ['u'] })
      expect([await view.deleteByTag(['t']), await view.deleteByTag({ tags: ['u'] })]).toEqual([true, true])
      expect([await view.get('a'), await view.get('b')]).toEqual([undefined, undefined])
      await view.setForever('a', 1)
      await view.setForever({ key: 'b', value: 1 })
      expect([await view.getOrSetForever('a', () => 2), await view.getOrSetForever({ key: 'b', factory: () => 2 })]).toEqual([1, 1])
    }
  })
})
