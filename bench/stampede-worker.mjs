// One of the processes of `stampede.mjs`. It answers each order when it is done.
import { layered, ours, POST, upstream } from './contenders.mjs'

const FACTORY_MS = 50
const TEXT = JSON.stringify(POST)
const BY_REFERENCE = { l1: { serialize: false } }

/** What this process has computed since the last order. */
let runs = []

/** name → open({ connection, directory }) → ask(key) */
const variants = {
  'ours, leases': async ({ connection: l2 }) => getOrSet(await ours({ l1: {}, l2, bus: true })),
  'ours, leases, by reference': async ({ connection: l2 }) => getOrSet(await ours({ ...BY_REFERENCE, l2, bus: true, prefix: 'reference' })),
  'ours, leases: false': async ({ connection: l2 }) => getOrSet(await ours({ l1: {}, l2, bus: true, prefix: 'alone', leases: false })),
  'ours, host': async ({ directory }) => getOrSet(await ours({ l1: {}, directory })),
  'ours, host, by reference': async ({ directory }) => getOrSet(await ours({ ...BY_REFERENCE, directory, prefix: 'reference' })),
  'layered-loader': async ({ connection: l2 }) => {
    const loader = await layered({ load: compute, l2, bus: true })
    return (key) => loader.get(key)
  },
  '1.6.1': async ({ connection: l2 }) => getOrSet(await upstream({ l1: {}, l2, bus: true, prefix: 'upstream' })),
}

const asks = {}
const orders = {
  async open({ names, ...tiers }) {
    for (const name of names) asks[name] = await variants[name](tiers)
  },
  async ready() {
    globalThis.gc()
  },
  async stampede({ name, key, callers, at }) {
    runs = []
    await until(at)
    const used = process.cpuUsage()
    const answered = await all(callers, asks[name], key)
    await sleep(100) // what follows the answers is part of the price
    const { user, system } = process.cpuUsage(used)
    return { answered, runs, cpuMs: (user + system) / 1000 }
  },
  async copy({ callers, at }) {
    await until(at)
    const copies = []
    for (let i = 0; i < callers; i++) copies.push(JSON.parse(TEXT))
    return { answered: now(), last: copies.at(-1).id }
  },
}

process.on('disconnect', () => process.exit())
process.on('message', async ({ what, ...order }) => process.send({ answer: await orders[what](order) }))
process.send({ answer: undefined })

function getOrSet(cache) {
  return (key) => cache.getOrSet({ key, factory: compute })
}

async function compute() {
  await sleep(FACTORY_MS)
  runs.push(now())
  return JSON.parse(TEXT)
}

/** Resolves when the last of so many callers was answered. */
function all(callers, ask, key) {
  return new Promise((resolve, reject) => {
    let left = callers
    const answered = (value) => {
      if (value?.body !== POST.body) reject(new Error('a wrong answer'))
      else if (--left === 0) resolve(now())
    }
    for (let i = 0; i < callers; i++) ask(key).then(answered, reject)
  })
}

/** Milliseconds of the machine's monotonic clock: the same in all processes. */
function now() {
  return Number(process.hrtime.bigint()) / 1e6
}

function until(at) {
  return sleep(Math.max(0, at - now()))
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
