import { describe, expect, test } from 'vitest'
import { errors } from '../../src/index.js'
import { Fleet, SHAPES, errorOf } from '../support/stores.js'

const banana = { ttl: 'banana' }

const VERBS: Record<string, (cache: any) => unknown> = {
  'get with a bad grace': (cache) => cache.get({ key: 'k', grace: 'banana' }),
  'set with a bad ttl': (cache) => cache.set({ key: 'k', value: 'v', ...banana }),
  'set, positional': (cache) => cache.set('k', 'v', banana),
  'setForever with a bad grace': (cache) => cache.setForever('k', 'v', { grace: true }),
  'getOrSet with a bad ttl': (cache) => cache.getOrSet({ key: 'k', factory: () => 'v', ...banana }),
  'getOrSet, positional': (cache) => cache.getOrSet('k', () => 'v', banana),
  'getOrSet with bad tags': (cache) => cache.getOrSet('k', () => 'v', { tags: 'xy' }),
  'getOrSet with a bad key': (cache) => cache.getOrSet({ factory: () => 'v' }),
  'getOrSet of nothing': (cache) => cache.getOrSet(),
  'getOrSetForever with a bad lockTimeout': (cache) => cache.getOrSetForever('k', () => 'v', { lockTimeout: -1 }),
  'getOrSetForever of nothing': (cache) => cache.getOrSetForever(),
  'get of nothing': (cache) => cache.get(),
  'set of nothing': (cache) => cache.set(),
  'has with a bad l2Timeout': (cache) => cache.has('k', { l2Timeout: 'banana' }),
  'missing of an object key': (cache) => cache.missing({ key: {} }),
  'pull of nothing': (cache) => cache.pull(),
  'delete of a symbol': (cache) => cache.delete({ key: Symbol('k') }),
  'deleteMany of a text': (cache) => cache.deleteMany({ keys: 'k' }),
  'deleteMany of a bad key': (cache) => cache.deleteMany(['k', null]),
  '[N19] deleteByTag of a text': (cache) => cache.deleteByTag({ tags: 'xy' }),
  '[N19] set with tags that are a text': (cache) => cache.set('k', 'v', { tags: 'xy' }),
  'expire with a bad ttl': (cache) => cache.expire('k', banana),
  'clear with a bad ttl': (cache) => cache.clear(banana),
}

describe.each(SHAPES)('on %s, input that means nothing', (shape) => {
  test.each(Object.entries(VERBS))('[N14] rejects and never throws, on every view: %s', async (_, verb) => {
    const bento = new Fleet().process(shape)
    for (const view of [bento, bento.use(), bento.namespace('users')]) {
      let promise: any
      expect(() => (promise = verb(view))).not.toThrow()
      const error = await errorOf(promise)
      expect(error).toBeInstanceOf(TypeError)
      expect(['E_INVALID_OPTION', 'E_INVALID_KEY']).toContain(error.code)
    }
  })

  test('[N19] says which option it was, what it received and what is allowed', async () => {
    const bento = new Fleet().process(shape)
    const error = await errorOf(bento.set('k', 'v', { tags: 'xy' as never }))
    expect(error).toBeInstanceOf(errors.E_INVALID_OPTION)
    expect(error).toMatchObject({ option: 'tags', message: expect.stringMatching(/"tags".*"xy".*array of strings/) })
  })

  test('runs no factory and stores nothing', async () => {
    const fleet = new Fleet()
    const bento = fleet.process(shape)
    let runs = 0
    await errorOf(bento.getOrSet('k', () => ++runs, banana))
    await errorOf(bento.set('k', 'v', banana))
    expect(runs).toBe(0)
    expect(await bento.has('k')).toBe(false)
    expect(fleet.l2.calls.set).toBe(0)
  })
})
