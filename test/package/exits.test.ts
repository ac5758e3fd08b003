import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort, startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'
import { pack, runNode, unpacked } from './packed.js'

let project: string
let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
  project = await unpacked(await pack(), ['lru-cache', 'ioredis'])
  cpSync(join(import.meta.dirname, 'scripts'), project, { recursive: true })
})
afterAll(() => redis.stop())

/** Far above what the scripts need, far below what a forgotten timer of theirs would take. */
const PATIENCE = 20_000

test('a script that used every feature and disconnected ends by itself', async () => {
  const ran = await runNode(project, ['everything.mjs', `${redis.port}`, `${await freePort()}`], PATIENCE)
  expect(ran).toEqual({ code: 0, stdout: 'done\n', stderr: '' })
})

test('a script that used memory only and disconnected nothing ends by itself', async () => {
  const ran = await runNode(project, ['memory-only.mjs'], PATIENCE)
  expect(ran).toEqual({ code: 0, stdout: 'done\n', stderr: '' })
})
