// How each library is set up; imported late, so that a lane loads no other library than its own.

/** Ours, from the build. `l1`: options of the memory driver; `l2`: a connection, or `directory` for the host tier. */
export function ours(tiers) {
  const drivers = '../dist/drivers'
  const paths = { memory: `${drivers}/memory/memory.js`, redis: `${drivers}/redis/redis.js`, host: `${drivers}/host/host.js` }
  return build('../dist/index.js', paths, tiers)
}

/** npm's bentocache 1.6.1. */
export function upstream(tiers) {
  return build('bentocache', { memory: 'bentocache/drivers/memory', redis: 'bentocache/drivers/redis' }, tiers)
}

/** layered-loader 16.1.0. `load` answers what no tier has. */
export async function layered({ load, l1 = true, l2, bus = false }) {
  const { Loader } = await import('layered-loader/core')
  const config = { dataSourceGetOneFn: load }
  if (l1) config.inMemoryCache = { cacheType: 'lru-map', ttlInMsecs: TTL, maxItems: 1000 }
  if (l2 !== undefined) {
    const { RedisCache, createNotificationPair } = await import('layered-loader/redis')
    const { Redis } = await import('ioredis')
    const redis = new Redis(l2)
    config.asyncCache = new RedisCache(redis, { json: true, ttlInMsecs: TTL, prefix: 'layered:' })
    if (bus) {
      const pair = createNotificationPair({ channel: 'layered', publisherRedis: redis, consumerRedis: new Redis(l2) })
      Object.assign(config, { notificationPublisher: pair.publisher, notificationConsumer: pair.consumer })
    }
  }
  const loader = new Loader(config)
  await loader.init()
  return loader
}

/** An hour: nothing expires during a bench. */
export const TTL = 3_600_000

/** About 100 bytes of JSON. */
export const SMALL = { id: 4711, name: 'Ada Lovelace', mail: 'ada@example.org', tags: ['a', 'b'], isActive: true, visits: 42 }

/** About 2 kB of JSON: a post with its comments. */
export const POST = {
  id: 1,
  title: 'On the analytical engine',
  body: 'It can do whatever we know how to order it to perform. '.repeat(14),
  comments: Array.from({ length: 12 }, (_, id) => ({ id, author: `reader ${id}`, text: 'As reported by those who were there.', likes: id * 3 })),
}

async function build(path, paths, { l1, l2, directory, bus = false, ...options }) {
  const { BentoCache, bentostore } = await import(path)
  const store = bentostore()
  if (l1 !== undefined) store.useL1Layer((await import(paths.memory)).memoryDriver(l1))
  if (l2 !== undefined) {
    const { redisDriver, redisBusDriver } = await import(paths.redis)
    store.useL2Layer(redisDriver({ connection: l2 }))
    if (bus) store.useBus(redisBusDriver({ connection: l2 }))
  }
  if (directory !== undefined) store.useL2Layer((await import(paths.host)).hostDriver({ directory }))
  return new BentoCache({ default: 'bench', ttl: TTL, ...options, stores: { bench: store } })
}
