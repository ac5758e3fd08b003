// What waiting costs: N callers, one cold key, one flight. Processor time from the first call to the
// last answer, the factory taking none, and bytes held per waiter while it runs.
import { layered, ours, SMALL, TTL, upstream } from './contenders.mjs'
import { paired, ratio, spent, summary } from './paired.mjs'
import { fixed, heading, isMain, spread, table } from './report.mjs'

export const SIZES = [1_000, 10_000, 100_000]
export const SHARED = 'one shared promise'
export const OWN = 'a pending promise each'
export const OURS = 'ours by reference'
const UPSTREAM = '1.6.1 by reference'

/** Each prepares `open(round)` → { call, land }: ask for a cold key; end its factory. */
export const contenders = {
  [SHARED]: lane(async () => () => {
    let land
    const shared = new Promise((resolve) => (land = resolve))
    return { call: () => shared, land: () => land(SMALL) }
  }),
  'a promise each, chained to it': lane(async () => () => {
    let land
    const shared = new Promise((resolve) => (land = resolve))
    return { call: () => shared.then(itself), land: () => land(SMALL) }
  }),
  [OWN]: async () => async ({ what, callers }) => (what === 'held' ? { held: await weigh(NEVER, callers) } : undefined),
  [OURS]: lane(async () => getOrSet(await ours({ l1: { serialize: false } }), SMALL)),
  'ours by reference, object form': lane(async () => getOrSet(await ours({ l1: { serialize: false } }), SMALL, true)),
  'ours, a copy each (default)': lane(async () => getOrSet(await ours({ l1: {} }), SMALL)),
  'layered-loader': lane(async () => {
    let computed
    const loader = await layered({ load: () => new Promise((resolve) => (computed = resolve)) })
    return (round) => ({ call: () => loader.get(`post:${round}`), land: () => computed(SMALL) })
  }),
  [UPSTREAM]: lane(async () => getOrSet(await upstream({ l1: { serialize: false } }), SMALL, true), 10_000),
}

/** In ms. */
const WARM_UP = 1_000
const NEVER = { call: () => new Promise(() => {}), land() {} }
const names = Object.keys(contenders)

/** @returns figures(name, callers) → { us, held }, and times(name, callers) = its time / that of the shared promise */
export async function waits({ rounds = 5, only = names, sizes = SIZES } = {}) {
  const orders = sizes.map((callers) => ({ callers, what: 'time' }))
  orders.push({ callers: 10_000, what: 'held' })
  const samples = await paired(import.meta.url, { names: only, rounds, warmups: 1, orders })
  const of = (name, callers, what) => samples[name].filter((sample) => sample.callers === callers && sample.what === what)
  return {
    us: (name, callers) => median(of(name, callers, 'time'), 'us'),
    held: (name) => median(of(name, 10_000, 'held'), 'held'),
    times: (name, callers) => ratio(of(name, callers, 'time'), of(SHARED, callers, 'time'), 'us'),
  }
}

if (isMain(import.meta)) {
  heading('Waiting: N callers, one cold key, without the factory')
  const { us, held, times } = await waits()
  table([
    ['contender', ...SIZES.map((callers) => `ms, ${fixed(callers)}`), ...SIZES.map((callers) => `× shared, ${fixed(callers)}`), 'B held per waiter'],
    ...names.map((name) => {
      const sizes = SIZES.filter((callers) => us(name, callers) !== undefined)
      const blank = SIZES.slice(sizes.length).map(() => '–')
      return [
        name,
        ...sizes.map((callers) => fixed(us(name, callers).median / 1000, 2)),
        ...blank,
        ...sizes.map((callers) => spread(times(name, callers), 2)),
        ...blank,
        fixed(held(name).median),
      ]
    }),
  ])
  console.log('(1.6.1 needs ten seconds for 100,000.)')
  const perCaller = SIZES.map((callers) => `${fixed((us(OURS, callers).median * 1000) / callers)} ns`)
  console.log(`\nours by reference, per caller at ${SIZES.map((n) => fixed(n)).join(' / ')}: ${perCaller.join(' / ')}`)
  console.log(`held beyond its own promise: ${fixed(held(OURS).median - held(OWN).median)} B (bar: ≤ 100 B)`)
}

function getOrSet(cache, value, isObject = false) {
  return (round) => {
    let land
    const key = `post:${round}`
    const factory = () => new Promise((resolve) => (land = resolve))
    const options = { ttl: TTL }
    const call = { key, factory, ttl: TTL }
    return {
      call: isObject ? () => cache.getOrSet(call) : () => cache.getOrSet(key, factory, options),
      land: () => land(value),
    }
  }
}

function lane(prepare, most = Infinity) {
  return async () => {
    const open = await prepare()
    let round = 0
    // Flights until all that one does, and not only what its followers do, is compiled.
    for (const end = Date.now() + WARM_UP; Date.now() < end; ) await stampede(open(round++), 100)
    return async ({ callers, what }) => {
      if (callers > most) return undefined
      if (what === 'held') return { held: await weigh(open(round++), callers) }
      // A collection takes compiled code along whose objects are gone: let it be compiled anew.
      for (let i = 0; i < Math.min(20, most / 1000); i++) await stampede(open(round++), 1000)
      // All of them together, so that each pays its share of the garbage collection.
      const repeats = Math.max(1, Math.min(100_000, most) / callers)
      const start = spent()
      for (let i = 0; i < repeats; i++) await stampede(open(round++), callers)
      return { us: ((spent() - start) * 1000) / repeats }
    }
  }
}

/** From the first call to the last answer; the factory ends as soon as all have asked. */
async function stampede(source, callers) {
  const all = { left: callers, isOver: undefined }
  const over = new Promise((resolve) => (all.isOver = resolve))
  for (let i = 0; i < callers; i++) caller(source, all)
  await turn()
  source.land()
  await over
}

/** No closure of each stampede: compiled code of those does not outlive a collection. */
async function caller(source, all) {
  const value = await source.call()
  if (value?.id !== SMALL.id) throw new Error('a wrong answer')
  if (--all.left === 0) all.isOver()
}

async function weigh(source, callers) {
  const waiting = new Array(callers).fill(undefined)
  globalThis.gc()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < callers; i++) waiting[i] = source.call()
  await turn()
  globalThis.gc()
  const held = (process.memoryUsage().heapUsed - before) / callers
  source.land()
  return held
}

/** What has been asked is under way: no factory of these contenders starts later. */
function turn() {
  return new Promise((resolve) => setImmediate(resolve))
}

function itself(value) {
  return value
}

function median(samples, field) {
  return samples.length === 0 ? undefined : summary(samples.map((sample) => sample[field]))
}
