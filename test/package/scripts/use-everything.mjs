import assert from 'node:assert/strict'

const later = () => new Promise((resolve) => setTimeout(resolve, 300, 'late'))

/** Every verb of a store and every option of a call; some factories still run when it returns. */
export async function useEverything(cache) {
  assert.equal(await cache.getOrSet('a', () => 1, { ttl: '1h', tags: ['t'] }), 1)
  assert.equal(await cache.getOrSet({ key: 'a', factory: () => 2, grace: '1h', graceBackoff: '1s' }), 1)
  assert.equal(await cache.getOrSet({ key: 'a', factory: () => 2, forceFresh: true, lockTimeout: '5s', lockAge: '10s' }), 2)
  assert.equal(await cache.getOrSetForever({ key: 'always', factory: (ctx) => (ctx.setTags(['t']), 'x') }), 'x')
  assert.equal(await cache.getOrSet('adapted', (ctx) => (ctx.setOptions({ ttl: '1s' }), 'y')), 'y')
  assert.equal(await cache.getOrSet('skipped', (ctx) => ctx.skip()), undefined)
  await assert.rejects(cache.getOrSet('failing', () => Promise.reject(new Error('no'))))

  // Left running: a hard timeout whose factory goes on, and a refresh in the background.
  await assert.rejects(cache.getOrSet('hung', () => later(), { hardTimeout: 20 }))
  await cache.set({ key: 'stale', value: 'old', ttl: '1h' })
  await cache.expire({ key: 'stale' })
  assert.equal(await cache.getOrSet({ key: 'stale', factory: later, timeout: 0 }), 'old')

  await cache.set('b', 'positional')
  await cache.setForever({ key: 'c', value: 3 })
  assert.equal(await cache.has({ key: 'b' }), true)
  assert.equal(await cache.missing({ key: 'b' }), false)
  assert.equal(await cache.pull('b'), 'positional')
  assert.equal(await cache.get({ key: 'b', defaultValue: 'default' }), 'default')
  await cache.namespace('n').set('inside', true)
  await cache.namespace('n').clear()
  await cache.deleteByTag({ tags: ['t'] })
  await cache.deleteMany({ keys: ['c', 'd'] })
  await cache.delete('gone')
  await cache.prune()
  assert.ok(cache.stats())
}
