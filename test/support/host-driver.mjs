import { HostDriver } from '../../dist/drivers/host/host.js'

/** A process with a host driver: `startProcess(…, { args: [directory, maxSize] })`. */
const [directory, maxSize = '16mb'] = process.argv.slice(2)

const logged = []
const log = (level) => (_, message) => logged.push(`${level}: ${message}`)
const logger = { trace() {}, debug() {}, info: log('info'), warn: log('warn'), error: log('error'), fatal: log('fatal'), child: () => logger }

const driver = new HostDriver({ directory, maxSize, prefix: 'p', logger })
const { lease } = driver
const events = []
lease.feed.open({ store: 's', maxStalenessMs: 0, listener: { onEvent: (event) => events.push(event), onVerified() {} } })

export const get = (key) => driver.get(key)
export const set = (key, text, ttl) => driver.set(key, text, ttl)
export const remove = (key) => driver.delete(key)
export const acquire = (key, o) => lease.acquire(key, { attempt: `${process.pid}:${Math.random()}`, ttlMs: 3_000, seen: '', ...o })
export const fulfill = (of, text) => lease.fulfill(of, text, { keepMs: null })
export const logs = () => logged
export const disconnect = () => driver.disconnect()

/** What a listener has been told until now. */
export function look() {
  const isKnown = lease.feed.look(Date.now())
  return { isKnown, events: events.splice(0) }
}

/** Waits until the term ends, or its holder. */
export async function wait(key, term, ms = 5_000) {
  const watch = lease.watch(key)
  const cpu = process.cpuUsage()
  const event = await watch.next(term, ms)
  watch.close()
  const { user, system } = process.cpuUsage(cpu)
  return { event, at: Date.now(), cpuMs: (user + system) / 1_000 }
}

/** What a timer alone costs here and now. */
export async function ticks(ms) {
  const cpu = process.cpuUsage()
  for (const end = Date.now() + ms; Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20))
  const { user, system } = process.cpuUsage(cpu)
  return (user + system) / 1_000
}

/** The worst that can happen to each verb: a rejection. */
export async function tryAll(key) {
  const outcome = async (verb) => verb().then((value) => value ?? 'nothing', (error) => (lease.isOutage(error) ? 'outage' : error.message))
  return {
    get: await outcome(() => driver.get(key)),
    set: await outcome(() => driver.set(key, 'text')),
    acquire: await outcome(async () => (await acquire(`${key}:lease`)).kind),
  }
}

/** Timers and watches that Node knows of. */
export async function resources(afterMs) {
  await new Promise((resolve) => setTimeout(resolve, afterMs))
  return process.getActiveResourcesInfo().filter((name) => /Timeout|Immediate|FSEvent|FSReq/.test(name))
}

const textOf = (key, n) => `${key}=${n};`.repeat(1 + (n % 200))

/** Writes and reads for ever; throws when a text is not whole. */
export async function churn(keys) {
  for (let n = 0; ; n++) {
    const key = `churn:${Math.floor(Math.random() * keys)}`
    await driver.set(key, textOf(key, n), 1_000 + Math.random() * 60_000)
    if (n % 5 === 0) await driver.delete(`churn:${Math.floor(Math.random() * keys)}`)
    await checkWhole(keys)
  }
}

/** Reads some keys; how many were there. */
export async function checkWhole(keys, count = 5) {
  let found = 0
  for (let i = 0; i < count; i++) {
    const key = `churn:${Math.floor(Math.random() * keys)}`
    const text = await driver.get(key)
    if (text === undefined) continue
    found++
    const [, n] = /=(\d+);/.exec(text) ?? []
    if (text !== textOf(key, Number(n))) throw new Error(`${key} is not whole: ${text.slice(0, 80)}`)
  }
  return found
}
