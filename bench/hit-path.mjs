// What a hit in L1 costs: nanoseconds of the processor, and bytes; getOrSet on a hot key, 100 B object.
import { layered, ours, SMALL, TTL, upstream } from './contenders.mjs'
import { LARGE_NEW_SPACE, paired, ratio, spent, summary } from './paired.mjs'
import { fixed, heading, isMain, spread, table } from './report.mjs'

const REFERENCE = { l1: { serialize: false } }
const COPIES = { l1: {} }
const TAGS = ['news', 'author:7', 'front-page']
const KEYS = Array.from({ length: 1000 }, (_, i) => `post:${i}`)

/** Options are made once: what a caller allocates for a call of its own is not the cache's. */
const options = { ttl: TTL }
const factory = () => SMALL

export const contenders = {
  'control: a resolved promise': lane(async () => () => Promise.resolve(SMALL)),
  'floor: JSON parsed on each hit': lane(async () => {
    const text = JSON.stringify(SMALL)
    return () => Promise.resolve(JSON.parse(text))
  }),
  'ours by reference': lane(async () => positional(await ours(REFERENCE))),
  'ours by reference, object form': lane(async () => objectForm(await ours(REFERENCE))),
  'ours by reference, namespaced': lane(async () => positional((await ours(REFERENCE)).namespace('posts'))),
  'ours by reference, 3 tags': lane(async () => positional(await ours(REFERENCE), { ttl: TTL, tags: TAGS })),
  'ours by reference, 1000 keys': lane(async () => inTurn(await ours(REFERENCE))),
  'ours, a copy each (default)': lane(async () => positional(await ours(COPIES))),
  'layered-loader': lane(async () => {
    const loader = await layered({ load: async () => SMALL })
    return () => loader.get('post:1')
  }),
  'layered-loader, 1000 keys': lane(async () => {
    const loader = await layered({ load: async () => SMALL })
    return (i) => loader.get(KEYS[i % 1000])
  }),
  '1.6.1 by reference': lane(async () => objectForm(await upstream(REFERENCE))),
  '1.6.1, a copy each (default)': lane(async () => objectForm(await upstream(COPIES))),
}

const names = Object.keys(contenders)
const CONTROL = names[0]

/** The contenders that the gate needs. */
export const GATED = [
  CONTROL,
  'ours by reference',
  'ours by reference, object form',
  'ours by reference, namespaced',
  'ours, a copy each (default)',
  '1.6.1 by reference',
  '1.6.1, a copy each (default)',
]

/** @returns name → { ns, bytes, beyond } as summaries; `beyond` = bytes beyond the control's */
export async function hits({ rounds = 9, ms = 40, only = names } = {}) {
  const timed = await paired(import.meta.url, { names: only, rounds, orders: [{ what: 'ns', ms }] })
  const weighed = await paired(import.meta.url, { names: only, rounds: 3, warmups: 1, orders: [{ what: 'bytes' }], flags: LARGE_NEW_SPACE })
  const control = summary(weighed[CONTROL].map(({ bytes }) => bytes)).median
  const figures = {}
  for (const name of only) {
    const bytes = summary(weighed[name].map((sample) => sample.bytes))
    figures[name] = { ns: summary(timed[name].map(({ ns }) => ns)), bytes, beyond: bytes.median - control }
  }
  const times = (slow, fast) => ratio(timed[slow], timed[fast], 'ns')
  return { figures, times }
}

if (isMain(import.meta)) {
  heading('A hit in L1: getOrSet on a hot key, 100 B object')
  const { figures, times } = await hits()
  const byReference = figures['1.6.1 by reference'].ns.median
  const byDefault = figures['1.6.1, a copy each (default)'].ns.median
  table([
    ['contender', 'ns CPU/op', 'B/op', 'B beyond control', '× 1.6.1 by ref.', '× 1.6.1 default'],
    ...names.map((name) => {
      const { ns, bytes, beyond } = figures[name]
      return [name, spread(ns), spread(bytes), fixed(beyond), fixed(byReference / ns.median, 1), fixed(byDefault / ns.median, 1)]
    }),
  ])
  console.log()
  table([
    ['ratio within a round', 'median (IQR)', 'bar'],
    ['1.6.1 by reference / ours by reference', spread(times('1.6.1 by reference', 'ours by reference'), 1), '≥ 12'],
    ['1.6.1 by reference / ours, object form', spread(times('1.6.1 by reference', 'ours by reference, object form'), 1), '≥ 12'],
    ['1.6.1 default / ours by reference', spread(times('1.6.1, a copy each (default)', 'ours by reference'), 1), ''],
    ['1.6.1 default / ours default', spread(times('1.6.1, a copy each (default)', 'ours, a copy each (default)'), 1), '≥ 4'],
    ['layered-loader / ours by reference', spread(times('layered-loader', 'ours by reference'), 2), '≥ 1'],
    ['layered-loader / ours, 1000 keys', spread(times('layered-loader, 1000 keys', 'ours by reference, 1000 keys'), 2), ''],
    ['ours namespaced / ours', spread(times('ours by reference, namespaced', 'ours by reference'), 2), '≤ 1.3'],
    ['ours with 3 tags / ours', spread(times('ours by reference, 3 tags', 'ours by reference'), 2), '≤ 1.5'],
  ])
}

function positional(cache, o = options) {
  return () => cache.getOrSet('post:1', factory, o)
}

function objectForm(cache) {
  const call = { key: 'post:1', factory, ttl: TTL }
  return () => cache.getOrSet(call)
}

function inTurn(cache) {
  return (i) => cache.getOrSet(KEYS[i % 1000], factory, options)
}

/** Prepares a hit, and answers what it costs: nanoseconds over `ms`, or bytes over 10,000 calls. */
function lane(prepare) {
  return async () => {
    const hit = await prepare()
    for (let i = 0; i < 40; i++) await repeat(hit, 1000) // the misses, and the compiler
    return ({ what, ms }) => (what === 'ns' ? time(hit, ms) : weigh(hit))
  }
}

async function time(hit, ms) {
  await repeat(hit, 10_000) // a collection takes compiled code along whose objects are gone
  const start = spent()
  let elapsed = 0
  let calls = 0
  while (elapsed < ms) {
    await repeat(hit, 2000)
    calls += 2000
    elapsed = spent() - start
  }
  return { ns: (elapsed * 1e6) / calls }
}

async function weigh(hit) {
  await repeat(hit, 10_000)
  globalThis.gc()
  const before = process.memoryUsage().heapUsed
  await repeat(hit, 10_000)
  return { bytes: (process.memoryUsage().heapUsed - before) / 10_000 }
}

async function repeat(hit, times) {
  for (let i = 0; i < times; i++) await hit(i)
}
