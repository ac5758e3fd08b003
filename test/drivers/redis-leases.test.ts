import assert from 'node:assert/strict'
import { Redis } from 'ioredis'
import { Redis as Redis6 } from 'ioredis-6'
import { createClient } from 'redis'
import { createClient as createClient5 } from 'redis-5'
import { afterAll, beforeAll, describe, test } from 'vitest'
import type { L2CacheDriver } from '../../src/base/contract.js'
import { leaseCases } from '../../src/conformance/leases.js'
import { RedisDriver } from '../../src/drivers/redis/redis.js'
import { startCluster, startRedis } from '../support/redis.js'
import type { RedisCluster, RedisServer } from '../support/redis.js'

/** Every case, each process with a client of its own. */
function conforms(createDriver: () => Promise<RedisDriver> | RedisDriver) {
  for (const { name, run } of leaseCases) {
    test(name, () =>
      run({
        assert,
        createDrivers: async () => [await createDriver(), await createDriver()],
        foreignWrite: async (driver: L2CacheDriver, key, text) => {
          const client = (driver as RedisDriver).getConnection()
          await client.set(`p:${key}`, text)
        },
      })
    )
  }
}

describe('one server', () => {
  let server: RedisServer
  const ends: (() => void)[] = []

  beforeAll(async () => {
    server = await startRedis({
      acl: ['scoped on >pw ~p:* &* +@all', 'deaf on >pw ~p:* +@all resetchannels', 'mute on >pw ~p:* &* +@all -publish'],
    })
  })
  afterAll(async () => {
    for (const end of ends) end()
    await server.stop()
  })

  const own = <T extends { disconnect(): void }>(client: T): T => {
    ends.push(() => client.disconnect())
    return client
  }

  describe('clients of ioredis 5', () => {
    conforms(() => new RedisDriver({ connection: own(new Redis(server.port)), prefix: 'p' }))
  })

  describe('clients of ioredis 6', () => {
    conforms(() => new RedisDriver({ connection: own(new Redis6(server.port)), prefix: 'p' }))
  })

  describe('auto-pipelining, numbers as strings, a keyPrefix and another database', () => {
    const options = { enableAutoPipelining: true, stringNumbers: true, keyPrefix: 'app[1]*:', db: 3 }
    conforms(() => new RedisDriver({ connection: own(new Redis(server.port, options)), prefix: 'p' }))
  })

  describe('a user that may only touch keys of the prefix', () => {
    const user = { username: 'scoped', password: 'pw' }
    conforms(() => new RedisDriver({ connection: own(new Redis(server.port, user)), prefix: 'p' }))
  })

  describe('a user without any channel', () => {
    const user = { username: 'deaf', password: 'pw' }
    conforms(() => new RedisDriver({ connection: own(new Redis(server.port, user)), prefix: 'p' }))
  })

  describe('a user that may listen but not publish', () => {
    const user = { username: 'mute', password: 'pw' }
    conforms(() => new RedisDriver({ connection: own(new Redis(server.port, user)), prefix: 'p' }))
  })

  describe.each([
    ['redis 6', createClient],
    ['redis 5', createClient5],
  ])('clients of %s (node-redis)', (_, create) => {
    conforms(async () => {
      const client = (create as typeof createClient)({ url: server.url })
      client.on('error', () => {})
      await client.connect()
      ends.push(() => client.destroy())
      return new RedisDriver({ connection: client, prefix: 'p' })
    })
  })
})

describe('a cluster', () => {
  let cluster: RedisCluster

  beforeAll(async () => {
    cluster = await startCluster()
  })
  afterAll(() => cluster.stop())

  describe('ioredis', () => {
    conforms(() => new RedisDriver({ connection: cluster.client(), prefix: 'p' }))
  })

  describe('ioredis, reads from replicas, with a keyPrefix that has a hash tag', () => {
    conforms(() => new RedisDriver({ connection: cluster.client({ scaleReads: 'slave', keyPrefix: '{app}:' }), prefix: 'p' }))
  })
})
