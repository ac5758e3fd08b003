import { HostDriver } from '../../dist/drivers/host/host.js'
import { checkWhole as checkWholeOf, textOf } from './host-whole.mjs'

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
/** No timer fires while it is at it. */
export function blockAndFulfill(ms, of, text) {
  for (const end = Date.now() + ms; Date.now() < end; );
  return lease.fulfill(of, text, { keepMs: null })
}
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

/** What a timer of 20 ms alone costs here and now, in ms of CPU. */
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

/** One write after the other; how many. */
export async function writeFor(ms) {
  let n = 0
  for (const end = Date.now() + ms; Date.now() < end; n++) {
    await driver.set(`key${n % 300}`, 'x'.repeat(n % 3_000), 60_000)
    if (n % 10 === 0 && (await driver.get(`key${n % 300}`)) === undefined) throw new Error(`key${n % 300} is lost`)
  }
  return n
}

/** Opens and closes drivers; how many. `writes`: each of them writes, and reads that again. */
export async function openFor(ms, writes = false) {
  let n = 0
  for (const end = Date.now() + ms; Date.now() < end; n++) {
    const another = new HostDriver({ directory, maxSize, prefix: 'p', logger })
    const key = `${process.pid}:${n}`
    if (writes) await another.set(key, 'text')
    await another.get(key)
    await another.disconnect()
  }
  return n
}

/** Writes for ever. */
export async function churn(keys) {
  for (let n = 0; ; n++) {
    const key = `churn:${Math.floor(Math.random() * keys)}`
    await driver.set(key, textOf(key, n), 60_000)
  }
}

export const checkWhole = (keys, count) => checkWholeOf(driver, keys, count)
