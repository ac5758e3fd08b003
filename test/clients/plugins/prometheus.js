// Counts a BentoCache with @bentocache/plugin-prometheus, and prints the metrics.
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import { prometheusPlugin } from '@bentocache/plugin-prometheus'
import { Redis } from 'ioredis'
import { Registry } from 'prom-client'

const redis = new Redis(Number(process.env.REDIS_PORT), '127.0.0.1')
const registry = new Registry()
const cacheOf = (plugins) =>
  new BentoCache({
    default: 'main',
    plugins,
    stores: {
      main: bentostore()
        .useL1Layer(memoryDriver())
        .useL2Layer(redisDriver({ connection: redis }))
        .useBus(redisBusDriver({ connection: redis })),
    },
  })
const bento = cacheOf([prometheusPlugin({ registry, prefix: 'app', keyGroups: [[/^users:/, 'users:*']] })])
const other = cacheOf([])
await Promise.all([bento.get({ key: 'connects' }), other.get({ key: 'connects' })])

await bento.set({ key: 'users:1', value: 1 })
await bento.get({ key: 'users:1' })
await bento.get({ key: 'users:2' })
await bento.getOrSet({ key: 'users:3', factory: () => 3 })
await bento.set({ key: 'stale', value: 1, ttl: 1, grace: '1h' })
await new Promise((resolve) => setTimeout(resolve, 10))
await bento.get({ key: 'stale', grace: '1h' })
await bento.delete({ key: 'users:1' })
await bento.clear()
await other.set({ key: 'theirs', value: 1 })
await new Promise((resolve) => setTimeout(resolve, 200))

const metrics = await registry.getMetricsAsJSON()
await Promise.all([bento, other].map((cache) => cache.disconnectAll()))
redis.disconnect()
console.log(JSON.stringify(metrics))
