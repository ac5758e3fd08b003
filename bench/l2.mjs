// What a hit in L2 costs beside a plain GET of the same client, and which commands each verb sends.
import { Redis } from 'ioredis'
import { layered, ours, SMALL, TTL, upstream } from './contenders.mjs'
import { paired, ratio, summary } from './paired.mjs'
import { commandsOf, commandStats, startRedis } from './redis-server.mjs'
import { fixed, heading, isMain, spread, table } from './report.mjs'

const KEYS = Array.from({ length: 1000 }, (_, i) => `post:${i}`)
const RAW = 'raw GET'
const PARSED = 'raw GET, JSON parsed'
const OURS = 'ours'
const UPSTREAM = '1.6.1'

/** Each prepares `read(key)`; all keys are in Redis already, none in this process. */
export const contenders = {
  [RAW]: lane((connection) => raw(connection, (text) => text)),
  [PARSED]: lane((connection) => raw(connection, JSON.parse)),
  [OURS]: lane(async (l2) => filled(await ours({ l2, prefix: 'ours' }))),
  'ours, leases: false': lane(async (l2) => filled(await ours({ l2, prefix: 'no-leases', leases: false }))),
  'layered-loader': lane(async (l2) => {
    const loader = await layered({ load: async () => SMALL, l1: false, l2 })
    for (const key of KEYS) await loader.get(key)
    return (key) => loader.get(key)
  }),
  [UPSTREAM]: lane(async (l2) => filled(await upstream({ l2, prefix: 'upstream' }))),
}

const names = Object.keys(contenders)

if (isMain(import.meta)) {
  const redis = await startRedis()
  try {
    heading('A hit in L2: Redis, 100 B object, 1 and 100 concurrent')
    await hits(redis)
    console.log('\nCommands that each verb sends (of scripts: the call alone)\n')
    await commands(redis)
  } finally {
    await redis.stop()
  }
}

async function hits({ connection, admin }) {
  await admin.config('RESETSTAT')
  const orders = [{ concurrency: 1 }, { concurrency: 100 }]
  const samples = await paired(import.meta.url, { names, rounds: 9, orders, setup: connection })
  const of = (name, concurrency) => samples[name].filter((sample) => sample.concurrency === concurrency)
  const figure = (name, concurrency, field) => summary(of(name, concurrency).map((sample) => sample[field]))
  table([
    ['contender', 'µs, 1 alone', '1000/s, 100 at once', '× raw GET, 100 at once', 'µs CPU per hit', 'commands per hit'],
    ...names.map((name) => [
      name,
      spread(figure(name, 1, 'us'), 1),
      spread(figure(name, 100, 'rate'), 1),
      spread(ratio(of(name, 100), of(RAW, 100), 'rate'), 2),
      fixed(figure(name, 100, 'cpu').median, 1),
      fixed(figure(name, 100, 'commands').median, 2),
    ]),
  ])
  const times = ratio(of(OURS, 100), of(PARSED, 100), 'rate')
  console.log(`\nours / raw GET with its JSON parsed: ${spread(times, 2)}`)
}

async function commands({ connection, admin }) {
  const tiers = { l1: {}, l2: connection }
  const stores = {
    'ours': await ours({ ...tiers, prefix: 'a' }),
    'ours, useBus': await ours({ ...tiers, bus: true, prefix: 'b' }),
    '1.6.1, useBus': await upstream({ ...tiers, bus: true, prefix: 'c' }),
  }
  const factory = () => SMALL
  const rows = [['verb', ...Object.keys(stores)]]
  const verbs = {
    'cold miss with its fill': (cache) => cache.getOrSet({ key: 'post:1', factory }),
    'hit in L1': (cache) => cache.getOrSet({ key: 'post:1', factory }),
    'set': (cache) => cache.set({ key: 'post:1', value: SMALL }),
    'delete': (cache) => cache.delete({ key: 'post:1' }),
    'expire': (cache) => cache.expire({ key: 'post:3' }),
    'cold miss, 3 tags': (cache) => cache.getOrSet({ key: 'post:2', factory, tags: ['x', 'y', 'z'] }),
    'deleteByTag of one': (cache) => cache.deleteByTag({ tags: ['x'] }),
  }
  for (const cache of Object.values(stores)) {
    // Connections stand and Redis knows the scripts: that is paid once, not per verb.
    await cache.getOrSet({ key: 'post:0', factory, tags: ['known'] })
    await cache.expire({ key: 'post:0' })
    await cache.deleteByTag({ tags: ['known'] })
    await cache.set({ key: 'post:3', value: SMALL })
  }
  for (const [verb, run] of Object.entries(verbs)) rows.push([verb, ...(await tallies(run))])

  // The same keys, in processes that have nothing in L1.
  const readers = {
    'ours': await ours({ l2: connection, prefix: 'a' }),
    'ours, useBus': await ours({ l2: connection, prefix: 'b' }),
    '1.6.1, useBus': await upstream({ l2: connection, prefix: 'c' }),
  }
  for (const [name, cache] of Object.entries(stores)) {
    await cache.set({ key: 'post:4', value: SMALL })
    await cache.set({ key: 'post:5', value: SMALL, tags: ['u', 'v', 'w'] })
    await readers[name].get({ key: 'post:0' })
  }
  rows.push(['hit in L2', ...(await tallies((cache) => cache.get({ key: 'post:4' }), readers))])
  rows.push(['hit in L2, 3 tags', ...(await tallies((cache) => cache.get({ key: 'post:5' }), readers))])
  table(rows)

  for (const cache of [...Object.values(stores), ...Object.values(readers)]) await cache.disconnectAll()

  async function tallies(run, caches = stores) {
    const cells = []
    for (const cache of Object.values(caches)) {
      const sent = await commandsOf({ admin, connection }, async () => {
        await run(cache)
        await new Promise((resolve) => setTimeout(resolve, 50)) // what follows the answer counts, too
      })
      cells.push([sent.length, ...sent].join(' '))
    }
    return cells
  }
}

async function raw(connection, parse) {
  const client = new Redis(connection)
  for (const key of KEYS) await client.set(`raw:${key}`, JSON.stringify(SMALL))
  return async (key) => parse(await client.get(`raw:${key}`))
}

async function filled(cache) {
  for (const key of KEYS) await cache.set({ key, value: SMALL })
  const factory = () => {
    throw new Error('it was in L2')
  }
  return (key) => cache.getOrSet({ key, factory, ttl: TTL })
}

function lane(prepare) {
  return async (connection) => {
    const read = await prepare(connection)
    const admin = new Redis(connection)
    return async ({ concurrency }) => {
      const reads = concurrency === 1 ? 1500 : 10_000
      const before = await reading(admin)
      const used = process.cpuUsage()
      const start = performance.now()
      await Promise.all(Array.from({ length: concurrency }, (_, first) => inTurn(read, first, concurrency, reads)))
      const ms = performance.now() - start
      const { user, system } = process.cpuUsage(used)
      const commands = ((await reading(admin)) - before) / reads
      return { us: (ms * 1000) / reads, rate: reads / ms, cpu: (user + system) / reads, commands }
    }
  }
}

/** Commands that read values or run scripts, so far; nobody but this lane sends any. */
async function reading(admin) {
  const { get = 0, mget = 0, eval: scripts = 0, evalsha = 0 } = await commandStats(admin)
  return get + mget + scripts + evalsha
}

/** One of `concurrency` readers: no two of them ask for the same key at a time. */
async function inTurn(read, first, concurrency, reads) {
  for (let i = first; i < reads; i += concurrency) {
    const value = await read(KEYS[i % KEYS.length])
    if (value === undefined) throw new Error('a miss')
  }
}
