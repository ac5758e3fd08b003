// One process of a fleet: a cache as a user would build it, and verbs for the test to ask for.
import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'

const config = JSON.parse(process.argv.at(-1))
const { cache, l1 } = await open()

let runs = 0
let factoryEndedAt = 0
const flights = new Map()
const unhandled = []
process.on('unhandledRejection', (error) => unhandled.push(String(error)))

/** Connected, subscribed, and verified once. */
export async function warm() {
  await cache.get('warm-up')
  await sleep(config.warmUp ?? 300)
}

/** `callers` at once for one key, and then the event loop is busy for so long. */
export async function blockedHerd(key, callers, blockMs) {
  const reported = herd(key, callers)
  await new Promise(setImmediate) // the first requests are on their way
  const until = performance.now() + blockMs
  while (performance.now() < until);
  return reported
}

/** `callers` at once for one key; the factory takes `ms` and ends as `how` says. */
export async function herd(key, callers, how = 'value', ms = 50, options = { ttl: '1h' }) {
  runs = 0
  factoryEndedAt = 0
  const factory = async (ctx) => {
    runs++
    await sleep(ms)
    factoryEndedAt = Date.now()
    if (how === 'failure') throw Object.assign(new TypeError(`the database of ${process.pid} is down`), { code: 'EDOWN' })
    if (how === 'skip') return ctx.skip()
    if (how === 'L1 only') ctx.setOptions({ skipL2Write: true })
    return { of: key, body: 'x'.repeat(2_000) }
  }
  const startedAt = Date.now()
  const settled = await Promise.allSettled(Array.from({ length: callers }, () => cache.getOrSet(key, factory, options)))
  const endedAt = Date.now()
  const outcomes = {}
  for (const { status, value, reason } of settled) {
    const outcome = status === 'fulfilled' ? (value === undefined ? 'undefined' : value.of) : `${reason.code} ${reason.isShared ? 'shared' : 'own'} ${reason.cause?.name} ${reason.cause?.code}`
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }
  return { runs, outcomes, startedAt, endedAt, factoryEndedAt }
}

/** Starts a getOrSet and answers when its factory runs (or the value was there). */
export function depart(key, value, ms, options = { ttl: '1h' }) {
  return new Promise((started) => {
    const promise = cache.getOrSet(
      key,
      async () => {
        runs++
        started('runs')
        await sleep(ms)
        return value
      },
      options
    )
    flights.set(key, promise.catch((error) => ({ error: error.code })).then((landed) => (started('landed'), landed)))
  })
}

/** Starts a getOrSet without waiting for anything. */
export function follow(key, value, ms, options) {
  void depart(key, value, ms, options)
}

export const landing = (key) => flights.get(key)
export const runsSoFar = () => runs
export const forgetRuns = () => void (runs = 0)
export const get = (key, options = {}) => cache.get({ key, ...options })
export const set = (key, value, options = { ttl: '1h' }) => cache.set({ key, value, ...options })
export const remove = (key) => cache.delete({ key })
export const expire = (key) => cache.expire({ key })
export const clear = () => cache.clear()
export const removeByTag = (tag) => cache.deleteByTag({ tags: [tag] })
export const stats = () => cache.stats()
export const disconnect = () => cache.disconnectAll()
export const unhandledRejections = () => unhandled

/** What L1 holds, without asking anybody: the version in it, and whether it would be served. */
export function peek(key) {
  const entry = l1?.objects.get(key)
  if (entry === undefined) return undefined
  const value = entry.form === 2 ? JSON.parse(entry.body).value : entry.body
  return { value, isServed: Date.now() < entry.calmUntil }
}

/** Calls as fast as `every` says until told to stop; answers what was seen. */
export async function steadyDemand(key, forMs, factoryMs, options, every = 5) {
  runs = 0
  let stored = 0
  const until = Date.now() + forMs
  const calls = []
  while (Date.now() < until) {
    calls.push(
      cache.getOrSet(key, async () => (runs++, await sleep(factoryMs), 'slow'), options).then(() => stored++, () => {})
    )
    await sleep(every)
  }
  await Promise.all(calls)
  return { runs, answered: stored, calls: calls.length }
}

/* ---------------------------------------------------------------- history */

let isRecording = false
let recording = Promise.resolve()

/** Reads and writes at random until `stopHistory`; every record goes to a file at once, so that a kill loses none. */
export function startHistory({ keys, mine, database, file, seed }) {
  const db = new Redis(database)
  const out = openSync(file, 'a')
  const random = generator(seed)
  const now = () => Number(process.hrtime.bigint() / 1_000n)
  const write = (record) => writeSync(out, JSON.stringify(record) + '\n')
  isRecording = true
  const loop = async () => {
    while (isRecording) {
      const key = keys[Math.floor(random() * keys.length)]
      try {
        if (mine.includes(key) && random() < 0.5) await update(key)
        else await read(key)
      } catch (error) {
        write({ kind: 'error', code: error.code ?? String(error) })
      }
      await sleep(random() * 2)
    }
  }
  const read = async (key) => {
    const start = now()
    const entry = await cache.getOrSet(
      key,
      async () => {
        const version = Number((await db.get(key)) ?? 0)
        await sleep(random() * 15)
        return { version }
      },
      { ttl: '1h', tags: [`tag-${key}`] }
    )
    write({ kind: 'read', pid: process.pid, key, start, version: entry.version })
  }
  const update = async (key) => {
    const version = await db.incr(key)
    const how = ['delete', 'set', 'expire', 'tag'][Math.floor(random() * 4)]
    if (how === 'delete') await cache.delete({ key })
    else if (how === 'set') await cache.set({ key, value: { version }, ttl: '1h', tags: [`tag-${key}`] })
    else if (how === 'expire') await cache.expire({ key })
    else await cache.deleteByTag({ tags: [`tag-${key}`] })
    write({ kind: 'ack', pid: process.pid, key, at: now(), version, how })
  }
  recording = Promise.all([loop(), loop(), loop(), loop()]).finally(() => db.disconnect())
}

export async function stopHistory() {
  isRecording = false
  await recording
}

function generator(seed) {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/* ------------------------------------------------------------------ cache */

async function open() {
  if (config.version === '1.6.1') {
    const old = '../../bench/node_modules/bentocache/build'
    const { BentoCache, bentostore } = await import(`${old}/index.js`)
    const { memoryDriver } = await import(`${old}/src/drivers/memory.js`)
    const { redisDriver, redisBusDriver } = await import(`${old}/src/drivers/redis.js`)
    const { connection } = config
    const store = bentostore(config.store ?? {}).useL1Layer(memoryDriver()).useL2Layer(redisDriver({ connection })).useBus(redisBusDriver({ connection }))
    return { cache: new BentoCache({ default: 'fleet', stores: { fleet: store } }), l1: undefined }
  }
  const { BentoCache, bentostore } = await import('bentocache')
  const { memoryDriver } = await import('bentocache/drivers/memory')
  let kept
  const memory = memoryDriver({ serialize: config.serialize ?? true })
  const store = bentostore(config.store ?? {}).useL1Layer({ ...memory, factory: (options) => (kept = memory.factory(options)) })
  store.useL2Layer(await l2())
  if (config.bus) {
    const { redisBusDriver } = await import('bentocache/drivers/redis')
    store.useBus(redisBusDriver({ connection: config.connection }))
  }
  const bento = new BentoCache({ default: config.storeName ?? 'fleet', stores: { [config.storeName ?? 'fleet']: store } })
  bento.use()
  return { cache: bento, l1: kept }
}

async function l2() {
  if (config.directory !== undefined) {
    const { hostDriver } = await import('bentocache/drivers/host')
    return hostDriver({ directory: config.directory, ...config.driver })
  }
  if (config.postgres !== undefined) {
    const { postgresDriver } = await import('bentocache/drivers/postgres')
    return postgresDriver({ connection: config.postgres, ...config.driver })
  }
  const { redisDriver } = await import('bentocache/drivers/redis')
  const connection = config.cluster === undefined ? config.connection : new Redis.Cluster(config.cluster)
  return redisDriver({ connection, ...config.driver })
}
