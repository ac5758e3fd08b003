import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { setTimeout as sleep } from 'node:timers/promises'
import { BentoCache, bentostore, errors } from '../../src/index.js'
import type { CacheProvider } from '../../src/cache/provider.js'
import type { RawBentoCacheOptions } from '../../src/base/options.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { redisBusDriver, redisDriver } from '../../src/drivers/redis/redis.js'
import { freePort, startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'
import { LogBook, Work, errorOf, unhandledDuring } from '../support/stores.js'
import type { Process } from '../support/stores.js'

let server: RedisServer
const open = new Set<Process>()

beforeAll(async () => {
  server = await startRedis()
})
afterAll(async () => {
  await Promise.all([...open].map((process) => process.disconnectAll()))
  await server.stop()
})

interface Shape {
  hasL1: boolean
  hasBus?: boolean
  leases?: false
  serialize?: false
}

/** The stores that people run: with leases as it comes, as 1.6.1 was, and without an L1. */
const SHAPES: Record<string, Shape> = {
  'L1 and Redis, with leases': { hasL1: true },
  'L1, Redis and bus, with leases': { hasL1: true, hasBus: true },
  'L1, Redis and bus, without leases': { hasL1: true, hasBus: true, leases: false },
  'Redis alone, with leases': { hasL1: false },
}

/** One more process, with connections of its own. */
function connect(shape: Shape, options: Partial<RawBentoCacheOptions> = {}, port = server.port): Process {
  const connection = { host: server.host, port, connectionName: `process ${Math.random()}` }
  const main = bentostore().useL2Layer(redisDriver({ connection }))
  if (shape.hasL1) main.useL1Layer(memoryDriver(shape.serialize === false ? { serialize: false } : {}))
  if (shape.hasBus) main.useBus(redisBusDriver({ connection }))
  const bento = new BentoCache({ ttl: '1h', ...options, ...(shape.leases === false && { leases: false }), default: 'main', stores: { main } })
  open.add(bento)
  bento.use()
  return bento
}

/** They have subscribed, and know how far the server's clock is from theirs. */
async function areReady(processes: Process[]): Promise<void> {
  await sleep(1_200)
  await until(async () => {
    await processes[0]!.set('ready', Math.random())
    const values = await Promise.all(processes.map((process) => process.get('ready')))
    await sleep(20)
    await processes[0]!.set('ready', 0)
    await sleep(20)
    return new Set(values).size === 1 && (await Promise.all(processes.map((process) => process.get('ready')))).every((value) => value === 0)
  })
}

async function until(isSo: () => Promise<boolean> | boolean, ms = 5_000): Promise<void> {
  const end = Date.now() + ms
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`not so within ${ms} ms: ${isSo}`)
    await sleep(5)
  }
}

const VERBS: Record<string, { act: (view: CacheProvider) => Promise<unknown>; leaves?: 'v2' }> = {
  delete: { act: (view) => view.delete('k') },
  deleteMany: { act: (view) => view.deleteMany(['j', 'k']) },
  pull: { act: (view) => view.pull('k') },
  expire: { act: (view) => view.expire('k') },
  clear: { act: (view) => view.clear() },
  set: { act: (view) => view.set('k', 'v2', { tags: ['t'] }), leaves: 'v2' },
  deleteByTag: { act: (view) => view.deleteByTag(['t']) },
}

describe.each(Object.entries(SHAPES))('%s', (_, shape) => {
  let a: Process
  let b: Process
  let c: Process
  const clearAll = async () => {
    for (const process of [a, b, c]) await process.clear()
    await sleep(20)
  }

  beforeAll(async () => {
    ;[a, b, c] = [connect(shape), connect(shape), connect(shape)]
    await areReady([a, b, c])
  })
  beforeEach(clearAll)

  test('[1 A2 D-J] [issue 3, row 2] 1,000 callers of a failing factory cost two runs, and the next call tries again', async () => {
    let runs = 0
    const factory = async () => {
      runs++
      await sleep(20)
      throw new Error('down')
    }
    const startedAt = Date.now()
    const asking = await Promise.allSettled(Array.from({ length: 1_000 }, () => a.getOrSet('k', factory)))
    expect(Date.now() - startedAt).toBeLessThan(2 * 20 + 500)
    expect(runs).toBe(2)
    expect(asking.every((end) => end.status === 'rejected' && end.reason instanceof errors.E_FACTORY_ERROR && end.reason.cause instanceof Error)).toBe(true)
    expect(await a.getOrSet('k', () => 'v')).toBe('v')
  })

  test('[2 A1] [issue 3, row 1] 10,000 callers through root, inline namespaces and both forms cost one run, and no more reads than one caller', async () => {
    let runs = 0
    const factory = async () => (runs++, await sleep(50), { id: 2 })
    const cost = async (callers: number, id: string) => {
      await server.resetStats()
      const asking = Array.from({ length: callers }, (_, i) => {
        if (i % 3 === 0) return a.namespace('u').getOrSet({ key: id, factory })
        return i % 3 === 1 ? a.getOrSet(`u:${id}`, factory) : a.use().getOrSetForever(`u:${id}`, factory)
      })
      const answers = await Promise.all(asking)
      expect(answers.every((answer) => answer.id === 2)).toBe(true)
      return (await server.commandStats()).get // those of scripts included
    }
    const ofOne = await cost(1, 'one')
    expect(runs).toBe(1)
    expect(await cost(10_000, 'many')).toBe(ofOne)
    expect(runs).toBe(2)
  })

  describe.each(Object.entries(VERBS))('%s', (name, { act, leaves }) => {
    for (const who of ['this process', 'another process'] as const) {
      test(`[10 D-A] [D-E] [issue 3, row 3] by ${who} during a flight: its result is nowhere, who came after never gets it`, async () => {
        const actor = who === 'this process' ? a : b
        for (let round = 0; round < 3; round++) {
          await clearAll()
          const [old, fresh] = [new Work(), new Work()]
          const before = a.getOrSet({ key: 'k', factory: old.factory, tags: ['t'] })
          await until(() => old.runs === 1)
          if (actor !== a) await sleep(20) // further than what two clocks differ by
          await act(actor)
          await sleep(who === 'this process' ? 0 : 20) // its news is here
          const after = a.getOrSet({ key: 'k', factory: fresh.factory, tags: ['t'] })
          if (name === 'deleteByTag') old.give('old') // its tags are known when it lands
          if (leaves === undefined) await until(() => fresh.runs === 1)
          if (name !== 'deleteByTag') old.give('old')
          expect(await before).toBe('old')
          if (leaves === undefined) {
            const between = await c.get('k')
            expect(between).not.toBe('old')
            fresh.give('new')
          }
          expect(await after).toBe(leaves ?? 'new')
          await sleep(10)
          for (const process of [a, actor, c]) expect(await process.get('k')).toBe(leaves ?? 'new')
        }
      })
    }

    test('[10 D-B] [issue 3, row 3] by another process during a background refresh: its result is nowhere', async () => {
      for (let round = 0; round < 3; round++) {
        await a.set('k', 'v0', { tags: ['t'], ttl: 50, grace: '6h' })
        await sleep(80)
        const old = new Work()
        expect(await a.getOrSet({ key: 'k', factory: old.factory, tags: ['t'], grace: '6h' })).toBe('v0')
        await until(() => old.runs === 1)
        await sleep(20) // further than what two clocks differ by
        await act(b)
        await sleep(20)
        old.give('old')
        await sleep(20)
        for (const process of [a, b]) {
          expect(await process.get({ key: 'k', grace: false })).toBe(leaves)
          expect(await process.get({ key: 'k', grace: '6h' })).not.toBe('old')
        }
      }
    })

    test('[11 D-F] by another process: what L1 held is not served once the news has come', async () => {
      for (let round = 0; round < 5; round++) {
        await a.set('k', 'old', { tags: ['t'] })
        await until(async () => (await b.get('k')) === 'old')
        await act(a)
        await until(async () => (await b.get('k')) !== 'old', 500)
        expect(await b.get('k')).toBe(leaves)
      }
    })
  })

  test('[10 D-A] [29] marks lie after what this process has made before, and before what it makes after: 300 of 300', async () => {
    for (let i = 0; i < 300; i++) {
      await a.set('s', i, { tags: ['t'] })
      await a.deleteByTag(['t'])
      expect(await a.get('s')).toBeUndefined()
      await a.getOrSet('c', () => i, { tags: ['t', 'u'] })
      expect(await a.get('c')).toBe(i)
      await a.deleteByTag(['u'])
      expect(await a.get('c')).toBeUndefined()
    }
  })

  test.each([0, -1, '0s'])('[12] a ttl of %j keeps nothing, and removes what was there, at peers too', async (ttl) => {
    await a.setForever('k', 'old')
    await until(async () => (await b.get('k')) === 'old')
    expect(await a.set('k', 'new', { ttl })).toBe(true)
    expect(await a.get('k')).toBeUndefined()
    await until(async () => (await b.get('k')) === undefined, 500)
    expect(await server.client().exists('bentocache:k')).toBe(0)
    expect(await a.getOrSet('k', () => 'computed', { ttl })).toBe('computed')
    expect(await server.client().exists('bentocache:k')).toBe(0)
  })

  test('[13] [N13] ttls in Redis are whole milliseconds, rounded up; Infinity and null are for ever', async () => {
    await a.set('a', 1, { ttl: 1_500.5 })
    await a.getOrSet('b', () => 1, { ttl: 1_500.5 })
    for (const ttl of [Infinity, null]) {
      await a.set(`s${ttl}`, 1, { ttl })
      await a.getOrSet(`c${ttl}`, () => 1, { ttl })
    }
    const client = server.client()
    for (const key of ['a', 'b']) {
      const left = await client.pttl(`bentocache:${key}`)
      expect(left).toBeGreaterThan(1_000)
      expect(left).toBeLessThanOrEqual(1_501)
    }
    for (const key of ['sInfinity', 'snull', 'cInfinity', 'cnull']) {
      expect(await client.pttl(`bentocache:${key}`)).toBe(-1)
      expect(await a.get(key)).toBe(1)
    }
  })

  test('[N25] deleteByTag of another process is seen at once', async () => {
    await a.set('k', 'v', { tags: ['t'] })
    await until(async () => (await b.get('k')) === 'v')
    await a.deleteByTag(['t'])
    await until(async () => (await b.get('k')) === undefined, 500)
  })

  test('[N1] a namespace\'s news reaches a process that holds the entry through the root', async () => {
    for (const act of [
      (users: CacheProvider) => users.delete('9'),
      (users: CacheProvider) => users.clear(),
      (users: CacheProvider) => users.expire('9'),
      (users: CacheProvider) => users.set('9', 'v2'),
    ]) {
      await a.set('users:9', 'v1')
      await until(async () => (await b.get('users:9')) === 'v1')
      await act(a.namespace('users'))
      await until(async () => (await b.get('users:9')) !== 'v1', 500)
    }
  })

  test('[N7] a factory that throws what is no Error: E_FACTORY_ERROR with that cause', async () => {
    for (const thrown of ['text', null, undefined, { plain: true }]) {
      const error = await errorOf(a.getOrSet('k', () => Promise.reject(thrown)))
      expect(error).toBeInstanceOf(errors.E_FACTORY_ERROR)
      expect(error.cause).toBe(thrown)
    }
  })

  test('[5] [3] a hard timeout, and a cut connection, leave no key locked', async () => {
    const work = new Work()
    const failures = await Promise.all(Array.from({ length: 30 }, () => errorOf(a.getOrSet({ key: 'k', factory: work.factory, hardTimeout: 50 }))))
    expect(failures.every((error) => error.code === 'E_FACTORY_HARD_TIMEOUT')).toBe(true)
    expect(work.runs).toBe(1)
    work.give('late')
    await until(async () => (await a.get('k')) === 'late')
    await server.client().client('KILL', 'TYPE', 'normal').catch(() => undefined)
    await a.getOrSet('other', () => 'v').catch((error) => expect(error.code).toBe('E_L2_CACHE_ERROR'))
    await until(async () => (await a.getOrSet('other', () => 'v').catch(() => undefined)) === 'v')
  })
})

test('[7] [N2] [pin 16] serialize: false: references in this process, JSON from Redis, through every view', async () => {
  const shape: Shape = { hasL1: true, serialize: false }
  const [a, b] = [connect(shape), connect(shape)]
  await areReady([a, b])
  const value = { at: new Date(0) }
  await a.namespace('users').set('1', value)
  expect(await a.get('users:1')).toBe(value)
  const promoted = await b.get('users:1')
  expect(promoted).toEqual({ at: '1970-01-01T00:00:00.000Z' })
  expect(await b.namespace('users').get('1')).toBe(promoted)
})

test('[N9] numeric keys pass the bus: nothing is queued for ever', async () => {
  const shape: Shape = { hasL1: true, hasBus: true, leases: false }
  const [a, b] = [connect(shape), connect(shape)]
  await areReady([a, b])
  const key = 42 as unknown as string
  await a.set({ key, value: 1 })
  await until(async () => (await b.get('42')) === 1)
  await a.delete({ key })
  await a.set('after', 1)
  await until(async () => (await b.get('42')) === undefined, 500)
})

test('[18] a Redis that is not there at the start: verbs work, nothing is unhandled, and it is joined when it comes', async () => {
  const port = await freePort()
  const logger = new LogBook()
  const shape: Shape = { hasL1: true, hasBus: true }
  let late: RedisServer | undefined
  try {
    const unhandled = await unhandledDuring(async () => {
      const [a, b] = [connect(shape, { logger }, port), connect(shape, {}, port)]
      expect(await a.set('k', 'v1')).toBe(true)
      expect(await a.get('k')).toBe('v1')
      expect(await a.getOrSet('c', () => 'v')).toBe('v')
      expect(logger.of('error').length).toBeGreaterThan(0)

      late = await startRedis({ port })
      await until(async () => (await a.set('k', 'v2'), (await b.get('k')) === 'v2'), 10_000)
      await a.set('k', 'v3')
      await until(async () => (await b.get('k')) === 'v3', 5_000)
      await a.delete('k')
      await until(async () => (await b.get('k')) === undefined, 5_000)
      await Promise.all([a.disconnectAll(), b.disconnectAll()])
    })
    expect(unhandled).toEqual([])
  } finally {
    await late?.stop()
  }
})
