import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'
import { client } from './client.js'
import type { Client } from './client.js'

let redis: RedisServer
let plugins: Client
beforeAll(async () => {
  ;[redis, plugins] = await Promise.all([startRedis(), client('plugins')])
})
afterAll(() => redis.stop())
beforeEach(async () => void (await redis.client().flushall()))

async function program(file: string) {
  const { code, stdout, output } = await plugins.run([file], { REDIS_PORT: `${redis.port}` })
  expect(code, output).toBe(0)
  return JSON.parse(stdout)
}

test('the plugins run on this package and on no other', () => {
  expect(plugins.bentocaches.map(({ path }) => path)).toEqual(['node_modules/bentocache'])
})

interface Span {
  name: string
  parent?: string
  isFailed: boolean
  events: string[]
  attributes: Record<string, unknown>
}

/** What the same program prints on 1.6.1, but for the tier of a hit in an L1 that the feed has not vouched for yet. */
describe('@bentocache/otel', () => {
  let spans: Span[]
  let isPatched: boolean
  beforeAll(async () => {
    ;({ spans, isPatched } = await program('otel.js'))
  })
  const of = (key: string) => spans.filter(({ attributes }) => attributes['cache.key'] === `bentocache:${key}`)
  const shown = (key: string) => of(key).map(({ name, parent }) => `${name} < ${parent}`).sort()

  test('subclasses BentoCache', () => {
    expect(isPatched).toBe(true)
  })

  test('a computation for five is one factory and one write, inside the call of the leader', () => {
    const followers = Array.from({ length: 4 }, () => 'cache.getOrSet < cache.getOrSet')
    const own = ['cache.factory < cache.getOrSet', 'cache.get < request', ...followers, 'cache.getOrSet < request', 'cache.set < cache.getOrSet']
    expect(shown('***:1')).toEqual(own)
    const calls = of('***:1').filter(({ name }) => name === 'cache.getOrSet')
    expect(calls.map(({ attributes }) => attributes['cache.hit']).sort()).toEqual([false, true, true, true, true])
  })

  test('hits, misses, graced values and keys are told', () => {
    expect(of('missing')[0]!.attributes).toEqual({ 'cache.operation': 'get', 'cache.store': 'main', 'cache.key': 'bentocache:missing', 'cache.hit': false })
    const graced = of('stale').find(({ name }) => name === 'cache.get')!
    expect(graced.attributes).toMatchObject({ 'cache.hit': true, 'cache.graced': true, 'cache.tier': expect.stringMatching(/^l[12]$/) })
    const many = spans.find(({ name }) => name === 'cache.deleteMany')!
    expect(many.attributes['cache.keys']).toEqual(['bentocache:a', 'bentocache:b'])
  })

  test('failures are told, each once', () => {
    const failed = spans.filter(({ isFailed }) => isFailed)
    expect(failed.map(({ name, events }) => ({ name, events }))).toEqual([
      { name: 'cache.factory', events: ['exception'] },
      { name: 'cache.getOrSet', events: ['exception'] },
    ])
  })

  test('what happens outside a span, inside the store or after disable() has none; the request’s own queries do', () => {
    const names = spans.map(({ name, parent }) => `${name} < ${parent}`)
    expect(names).toContain('query < request')
    expect(spans.filter(({ name }) => name === 'cache.delete')).toEqual([])
    expect(spans.filter(({ name }) => !name.startsWith('cache.')).map(({ name }) => name)).toEqual(['query', 'request'])
  })
})

describe('@bentocache/plugin-prometheus 0.2', () => {
  test('counts what it counts on 1.6.1', async () => {
    const metrics: { name: string; values: { value: number; labels: Record<string, string> }[] }[] = await program('prometheus.js')
    const counted = metrics.flatMap(({ name, values }) => values.map(({ value, labels }) => `${name} ${labels['key'] ?? ''} ${value}`))
    expect(counted).toEqual([
      'app_graced_hits stale 1',
      'app_hits users:* 1',
      'app_misses connects 1',
      'app_misses users:* 2',
      'app_writes users:* 2',
      'app_writes stale 1',
      'app_deletes users:* 1',
      'app_clears  1',
      'app_bus_messages_published  5',
      'app_bus_messages_received  1',
    ])
  })
})
