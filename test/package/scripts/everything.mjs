// Uses every tier, the bus, leases and the feed, leaves work and timers behind, and disconnects.
import assert from 'node:assert/strict'
import { BentoCache, bentostore, tracingChannels } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import { useEverything } from './use-everything.mjs'

const connection = { host: '127.0.0.1', port: Number(process.argv[2]) }
const away = { host: '127.0.0.1', port: Number(process.argv[3]) }

const heard = []
tracingChannels.cacheOperation.subscribe({ start: ({ operation }) => heard.push(operation) })

const bento = new BentoCache({
  default: 'both',
  grace: '6h',
  prefix: 'everything',
  plugins: [{ register: (cache) => cache.on('cache:written', () => heard.push('written')) }],
  stores: {
    both: bentostore({ l2CircuitBreakerDuration: '1s' })
      .useL1Layer(memoryDriver({ maxItems: 1000 }))
      .useL2Layer(redisDriver({ connection }))
      .useBus(redisBusDriver({ connection, retryQueue: { enabled: true, maxSize: 10 } })),
    remote: bentostore({ prefix: 'remote' }).useL2Layer(redisDriver({ connection })),
    alone: bentostore({ leases: false, prefix: 'alone' }).useL2Layer(redisDriver({ connection })),
    unreachable: bentostore({ l2Timeout: '100ms' })
      .useL1Layer(memoryDriver())
      .useL2Layer(redisDriver({ connection: away }))
      .useBus(redisBusDriver({ connection: away })),
  },
})
await useEverything(bento.use('both'))
await useEverything(bento.use('remote'))
assert.equal(await bento.use('alone').getOrSet('key', () => 'computed'), 'computed')
assert.equal(await bento.use('unreachable').getOrSet('key', () => 'computed'), 'computed')
await bento.use('unreachable').delete({ key: 'key' })
await bento.clearAll()
assert.ok(heard.includes('getOrSet') && heard.includes('written'))
await bento.disconnectAll()
console.log('done')
