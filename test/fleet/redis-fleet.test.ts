import { afterAll, beforeAll } from 'vitest'
import { sharesEveryOutcome, storesNothingOld, survivesItsLeaders } from '../support/fleet-suite.js'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

let redis: RedisServer
beforeAll(async () => void (redis = await startRedis()))
afterAll(() => redis.stop())

const suite = {
  config: () => ({ connection: { host: redis.host, port: redis.port } }),
  takeOverMs: 3_500,
  leaseMs: 3_000,
}

sharesEveryOutcome(suite)
survivesItsLeaders(suite)
storesNothingOld(suite, 300)
