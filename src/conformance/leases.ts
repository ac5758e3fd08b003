import type { Acquired, Ending, FeedEvent, L2CacheDriver, Lease, LeaseCapability, Watch } from '../base/contract.js'
import { Codec } from '../base/entry.js'
import { wait } from './wait.js'

/** The few assertions used; `node:assert/strict` and chai's `assert` have them. */
export interface LeaseAssert {
  equal(actual: unknown, expected: unknown, message?: string): void
  deepEqual(actual: unknown, expected: unknown, message?: string): void
  ok(value: unknown, message?: string): void
}

export interface LeaseSuiteOptions {
  /** Two drivers of the same storage and prefix that know nothing of each other: two processes. */
  createDrivers(): Promise<[L2CacheDriver, L2CacheDriver]>
  assert: LeaseAssert
  /** Writes a text past the capability, as a program without leases would. Without it those cases are left out. */
  foreignWrite?: (driver: L2CacheDriver, key: string, text: string) => Promise<void>
  /** The shortest ttl of values that the engine keeps apart, in ms. Default 1; DynamoDB 1000. */
  ttlGranularity?: number
  /** How much sooner or later a lease may lapse, in ms. Default 50. */
  leaseSlack?: number
}

export interface LeaseCase {
  name: string
  /** Options that must be there for the case to mean anything. */
  needs?: 'foreignWrite'
  run(o: LeaseSuiteOptions): Promise<void>
}

/** One process in a case. */
interface Process {
  driver: L2CacheDriver
  lease: LeaseCapability
  attempt(): string
}

const TTL = 4_000
const codec = new Codec()
let count = 0

/**
 * What every lease capability must do, whatever it is built on. Each case takes keys of its own,
 * makes two drivers and disconnects them. Knows no test runner: `for (const { name, run } of
 * leaseCases) test(name, () => run(options))`.
 */
export const leaseCases: LeaseCase[] = []

/* ------------------------------------------------------------ exclusion */

given('one process is granted a key, the others are held in its term', async ({ a, b, key, assert }) => {
  const granted = await acquire(a, key)
  assert.equal(granted.kind, 'granted')
  const held = await acquire(b, key)
  assert.equal(held.kind, 'held')
  assert.equal(held.kind === 'held' && held.term, leaseIn(granted).term)
  assert.ok(held.kind === 'held' && held.leftMs > 0 && held.leftMs <= TTL, 'time left')
})

given('many processes ask at once, one is granted', async ({ a, b, key, assert }) => {
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => acquire(i % 2 ? a : b, key)))
  assert.equal(answers.filter(({ kind }) => kind === 'granted').length, 1)
  assert.equal(answers.filter(({ kind }) => kind === 'held').length, 39)
})

given('keys do not hold each other', async ({ a, b, key, assert }) => {
  for (const other of [`${key}x`, `${key}:x`, `${key}|x|L|`, `x:${key}`, `{${key}}`, `${key}é🚀`, `${key} \n*?[a]`]) {
    assert.equal((await acquire(a, other)).kind, 'granted', other)
    assert.equal((await acquire(b, other)).kind, 'held', other)
  }
})

given('an attempt that asks again, its reply lost, is granted the same term', async ({ a, b, key, assert }) => {
  const attempt = a.attempt()
  const first = leaseIn(await acquire(a, key, { attempt }))
  assert.deepEqual(leaseIn(await acquire(a, key, { attempt })), first)
  assert.equal((await acquire(b, key)).kind, 'held')
})

given('the lease is refused to who has not seen what is stored', async ({ a, b, key, assert }) => {
  await b.lease.put(key, text('theirs'), null)
  assert.equal((await acquire(a, key, { seen: '' })).kind, 'changed')
  assert.equal((await acquire(a, key, { seen: a.lease.fingerprint(text('older', 1)) })).kind, 'changed')
  assert.equal((await acquire(a, key, { seen: await seen(a, key) })).kind, 'granted')
})

/* -------------------------------------------------------------- storing */

given('what the leader stores is read by all, and ends the term', async ({ a, b, key, assert }) => {
  const lease = leaseIn(await acquire(a, key))
  assert.equal(await a.lease.fulfill(lease, text('v'), { keepMs: null }), 'stored')
  assert.equal(await b.driver.get(key), text('v'))
  const next = leaseIn(await acquire(b, key, { seen: await seen(b, key) }))
  assert.ok(next.term !== lease.term, 'another term')
})

given('a large value is stored and shared as well', async ({ a, b, key, assert }) => {
  const large = text('x'.repeat(100_000))
  assert.equal(await a.lease.fulfill(leaseIn(await acquire(a, key)), large, { keepMs: 60_000 }), 'stored')
  assert.equal(await b.driver.get(key), large)
  const fenced = leaseIn(await acquire(a, key, { seen: await seen(a, key) }))
  await b.lease.invalidate([key], 'delete')
  assert.equal(await a.lease.fulfill(fenced, text('y'.repeat(100_000)), { keepMs: null }), 'refused')
  assert.equal(await b.driver.get(key), undefined)
})

given('a value replaces the stale one that was seen', async ({ a, b, key, assert }) => {
  await a.lease.put(key, text('old'), null)
  const lease = leaseIn(await acquire(b, key, { seen: await seen(b, key) }))
  assert.equal(await b.lease.fulfill(lease, text('new'), { keepMs: null }), 'stored')
  assert.equal(await a.driver.get(key), text('new'))
})

given('storing again after a lost reply is answered stored, and changes nothing', async ({ a, b, key, assert }) => {
  for (const value of [text('v'), text('x'.repeat(50_000))]) {
    const lease = leaseIn(await acquire(a, key, { seen: await seen(a, key) }))
    assert.equal(await a.lease.fulfill(lease, value, { keepMs: null }), 'stored')
    assert.equal(await a.lease.fulfill(lease, value, { keepMs: null }), 'stored')
    assert.equal(await b.driver.get(key), value)
  }
})

given('a late repetition does not overwrite what was stored since', async ({ a, b, key, assert }) => {
  const lease = leaseIn(await acquire(a, key))
  await a.lease.fulfill(lease, text('1'), { keepMs: null })
  const next = leaseIn(await acquire(b, key, { seen: await seen(b, key) }))
  await b.lease.fulfill(next, text('2'), { keepMs: null })
  assert.equal(await a.lease.fulfill(lease, text('1'), { keepMs: null }), 'refused')
  assert.equal(await a.driver.get(key), text('2'))
})

given('a value is kept as long as it says', async ({ a, b, key, assert, ttlGranularity }) => {
  const keepMs = ttlGranularity * 100 + 1_000 // long enough to be read in time on a busy machine
  await a.lease.put(`${key}:ever`, text('v'), null)
  await a.lease.fulfill(leaseIn(await acquire(a, key)), text('v'), { keepMs })
  assert.equal(await b.driver.get(key), text('v'))
  await a.lease.put(`${key}:put`, text('v'), keepMs)
  await until(async () => (await b.driver.get(key)) === undefined, 2 * keepMs + 1_000)
  await until(async () => (await b.driver.get(`${key}:put`)) === undefined, 2 * keepMs + 1_000)
  assert.equal(await b.driver.get(`${key}:ever`), text('v'))
})

given('createdAt of a grant is the coordinator’s time, and above the floor', async ({ a, key, assert }) => {
  const before = Date.now() + a.lease.offset()
  const granted = await acquire(a, key)
  const createdAt = granted.kind === 'granted' ? granted.createdAt : 0
  assert.ok(Math.abs(createdAt - before) < 5_000, `${createdAt} near ${before}`)
  const floor = before + 60_000
  const other = await acquire(a, `${key}:floor`, { floor })
  assert.equal(other.kind === 'granted' && other.createdAt, floor)
})

/* ---------------------------------------------------------- inheritance */

given('a lapsed lease is inherited: same term, no second grant beside it', async ({ a, b, key, assert, leaseSlack }) => {
  const lease = leaseIn(await acquire(a, key, { ttlMs: 60 }))
  await wait(60 + leaseSlack)
  const heir = leaseIn(await acquire(b, key))
  assert.equal(heir.term, lease.term)
  assert.equal((await acquire(a, key)).kind, 'held')
})

given('a slow leader may still store, if nobody did before it; its heir is then refused', async ({ a, b, key, assert, leaseSlack }) => {
  const lease = leaseIn(await acquire(a, key, { ttlMs: 60 }))
  await wait(60 + leaseSlack)
  const heir = leaseIn(await acquire(b, key))
  assert.equal(await a.lease.fulfill(lease, text('slow'), { keepMs: null }), 'stored')
  assert.equal(await b.lease.fulfill(heir, text('heir'), { keepMs: null }), 'refused')
  assert.equal(await b.driver.get(key), text('slow'))
})

given('once the heir has stored, the slow leader is refused', async ({ a, b, key, assert, leaseSlack }) => {
  const lease = leaseIn(await acquire(a, key, { ttlMs: 60 }))
  await wait(60 + leaseSlack)
  const heir = leaseIn(await acquire(b, key))
  assert.equal(await b.lease.fulfill(heir, text('heir'), { keepMs: null }), 'stored')
  assert.equal(await a.lease.fulfill(lease, text('slow'), { keepMs: null }), 'refused')
  assert.equal(await a.driver.get(key), text('heir'))
})

given('force starts a new term: whatever was running is refused', async ({ a, b, key, assert }) => {
  const running = leaseIn(await acquire(a, key))
  const forced = leaseIn(await acquire(b, key, { force: true, seen: 'whatever' }))
  assert.ok(forced.term !== running.term, 'another term')
  assert.equal(await a.lease.fulfill(running, text('running'), { keepMs: null }), 'refused')
  assert.equal(await b.lease.fulfill(forced, text('forced'), { keepMs: null }), 'stored')
  assert.equal(await a.driver.get(key), text('forced'))
})

given('force replaces a value that it never read', async ({ a, b, key, assert }) => {
  await a.lease.put(key, text('fresh'), null)
  const forced = leaseIn(await acquire(b, key, { force: true, seen: '' }))
  assert.equal(await b.lease.fulfill(forced, text('forced'), { keepMs: null }), 'stored')
  assert.equal(await a.driver.get(key), text('forced'))
})

/* -------------------------------------------------------------- renewal */

given('renewing keeps others waiting, beyond the ttl', async ({ a, b, key, assert }) => {
  const lease = leaseIn(await acquire(a, key, { ttlMs: 150 }))
  for (let i = 0; i < 6; i++) {
    await wait(50)
    assert.deepEqual(await a.lease.renew([{ lease, hold: true }], 150), [true])
  }
  assert.equal((await acquire(b, key)).kind, 'held')
})

given('without hold the term lives on, but an heir may come', async ({ a, b, key, assert, leaseSlack }) => {
  const lease = leaseIn(await acquire(a, key, { ttlMs: 60 }))
  assert.deepEqual(await a.lease.renew([{ lease, hold: false }], 5_000), [true])
  await wait(60 + leaseSlack)
  assert.equal(leaseIn(await acquire(b, key)).term, lease.term)
  assert.equal(await a.lease.fulfill(lease, text('slow'), { keepMs: null }), 'stored')
})

given('renewing many tells which terms are over', async ({ a, b, key, assert }) => {
  const leases = await Promise.all([1, 2, 3].map(async (n) => leaseIn(await acquire(a, `${key}:${n}`))))
  await b.lease.invalidate([`${key}:2`], 'delete')
  const alive = await a.lease.renew(
    leases.map((lease) => ({ lease, hold: true })),
    TTL
  )
  assert.deepEqual(alive, [true, false, true])
  assert.deepEqual(await a.lease.renew([], TTL), [])
})

given('a renewal that is too late takes nothing back', async ({ a, b, key, assert }) => {
  const lease = leaseIn(await acquire(a, key))
  await a.lease.settle(lease, { kind: 'abandoned' }, { followers: false, backoffMs: 0 })
  await a.lease.renew([{ lease, hold: true }], TTL)
  assert.equal((await acquire(b, key)).kind, 'granted')
})

/* --------------------------------------------------------- invalidation */

for (const how of ['delete', 'expire', 'put', 'clear'] as const) {
  given(`${how} ends the term: a result computed before it is refused`, async ({ a, b, key, assert }) => {
    await b.lease.put(key, text('old', Date.now() + 60_000), null)
    const lease = leaseIn(await acquire(a, key, { seen: await seen(a, key) }))
    if (how === 'put') await b.lease.put(key, text('theirs'), null)
    else if (how === 'clear') await b.lease.clear('')
    else await b.lease.invalidate([key], how)
    assert.equal(await a.lease.fulfill(lease, text('old too'), { keepMs: null }), 'refused')
    const stored = await a.driver.get(key)
    if (how === 'put') assert.equal(stored, text('theirs'))
    else if (how === 'expire') assert.equal(codec.open(codec.decode(stored ?? '')!), 'old')
    else assert.equal(stored, undefined)
  })

  given(`${how} of a key with no value ends its term, too`, async ({ a, b, key, assert }) => {
    const lease = leaseIn(await acquire(a, key))
    if (how === 'put') await b.lease.put(key, text('theirs'), null)
    else if (how === 'clear') await b.lease.clear('')
    else await b.lease.invalidate([key], how)
    assert.equal(await a.lease.fulfill(lease, text('old'), { keepMs: null }), 'refused')
    assert.equal((await acquire(b, key, { seen: await seen(b, key) })).kind, 'granted')
  })
}

given('invalidating tells which keys existed', async ({ a, b, key, assert }) => {
  await a.lease.put(`${key}:1`, text(1), null)
  await a.lease.put(`${key}:3`, text(3), null)
  const keys = [1, 2, 3].map((n) => `${key}:${n}`)
  assert.deepEqual(await b.lease.invalidate(keys, 'expire'), [true, false, true])
  assert.deepEqual(await b.lease.invalidate(keys, 'delete'), [true, false, true])
  assert.deepEqual(await b.lease.invalidate(keys, 'delete'), [false, false, false])
  assert.deepEqual(await b.lease.invalidate([], 'delete'), [])
})

for (const how of ['delete', 'expire'] as const) {
  given(`${how} of many keys at once ends all their terms`, async ({ a, b, key, assert }) => {
    const leases = await Promise.all([1, 2, 3].map(async (n) => leaseIn(await acquire(a, `${key}:${n}`))))
    await b.lease.invalidate([1, 2, 3].map((n) => `${key}:${n}`), how)
    const answers = await Promise.all(leases.map((lease) => a.lease.fulfill(lease, text('old'), { keepMs: null })))
    assert.deepEqual(answers, ['refused', 'refused', 'refused'])
  })
}

given('an expired entry is stale, its value and its life stay', async ({ a, b, key, assert }) => {
  const now = Date.now() + a.lease.offset()
  await a.lease.put(key, text('v', now + 60_000), 60_000)
  await a.lease.put(`${key}:ever`, text('v'), null)
  await b.lease.invalidate([key, `${key}:ever`], 'expire')
  for (const expired of [key, `${key}:ever`]) {
    const entry = codec.decode((await a.driver.get(expired)) ?? '')
    assert.equal(entry && codec.open(entry), 'v')
    assert.ok(entry && entry.freshUntil <= Date.now() + a.lease.offset() + 50, 'stale')
  }
  if (a.driver.remainingTtl === undefined) return
  const left = await a.driver.remainingTtl(key)
  assert.ok(left > 50_000 && left <= 60_000, `${left} ms left`)
  assert.equal(await a.driver.remainingTtl(`${key}:ever`), Infinity)
})

given('an entry of 1.6.1 is made stale as well', async ({ a, b, key, assert }) => {
  const theirs = JSON.stringify({ value: { n: 1 }, logicalExpiration: Date.now() + 60_000, tags: ['t'], createdAt: Date.now() })
  await a.lease.put(key, theirs, null)
  assert.deepEqual(await b.lease.invalidate([key], 'expire'), [true])
  const entry = codec.decode((await a.driver.get(key)) ?? '')
  assert.deepEqual(entry && codec.open(entry), { n: 1 })
  assert.deepEqual(entry?.tags, ['t'])
  assert.ok(entry && entry.freshUntil <= Date.now() + a.lease.offset() + 50, 'stale')
})

given('a text that only its own serializer reads is made stale by it, and keeps its life', async ({ a, b, key, assert }) => {
  const stale = (text: string, staleAt: number) => (text.startsWith('mine:') ? `${text}, stale since ${Math.floor(staleAt)}` : undefined)
  await a.lease.put(key, 'mine: 1', 60_000)
  await a.lease.put(`${key}:other`, 'not mine', 60_000)
  const keys = [key, `${key}:other`, `${key}:none`]
  assert.deepEqual(await b.lease.invalidate(keys, 'expire', stale), [true, true, false])
  assert.ok(/^mine: 1, stale since \d{13}$/.test((await a.driver.get(key)) ?? ''), 'made stale by its own')
  assert.ok(!(await a.driver.get(`${key}:other`)), 'what cannot be read is deleted')
  if (a.driver.remainingTtl === undefined) return
  const left = await a.driver.remainingTtl(key)
  assert.ok(left > 50_000 && left <= 60_000, `${left} ms left`)
})

given('clear takes what is under the prefix, with its leases, and nothing beside it', async ({ a, b, key, assert }) => {
  const names = [`${key}:1`, `${key}:sub:2`, `${key}x:3`, `${key}`]
  for (const name of names) await a.lease.put(name, text(name), null)
  const under = leaseIn(await acquire(a, `${key}:lease`))
  const beside = leaseIn(await acquire(a, `${key}x:lease`))
  await b.lease.clear(key)
  const left = await Promise.all(names.map((name) => a.driver.get(name)))
  assert.deepEqual(left, [undefined, undefined, text(`${key}x:3`), text(key)])
  assert.equal(await a.lease.fulfill(under, text('old'), { keepMs: null }), 'refused')
  assert.equal(await a.lease.fulfill(beside, text('new'), { keepMs: null }), 'stored')
})

given('a clear that runs beside fulfils leaves nothing that was computed before it', async ({ a, b, key, assert }) => {
  const leases = await Promise.all(Array.from({ length: 100 }, async (_, n) => leaseIn(await acquire(a, `${key}:${n}`))))
  const fulfils = leases.map(async (lease, n) => {
    await wait(n / 10)
    return a.lease.fulfill(lease, text('old'), { keepMs: null })
  })
  await wait(3)
  await b.lease.clear(key)
  await Promise.all(fulfils)
  const left = await Promise.all(leases.map((lease) => a.driver.get(lease.key)))
  assert.equal(left.filter((stored) => stored !== undefined).length, 0)
})

given('marks carry a time that only grows', async ({ a, b, key, assert }) => {
  const mark = (time: number) => codec.encode(time, time, Infinity, [])
  const [one, two] = [`${key}:one`, `${key}:two`]
  let last = 0
  for (const process of [a, b, a, b]) {
    const time = await process.lease.mark([one, two], mark)
    assert.ok(time > last, `${time} after ${last}`)
    last = time
  }
  assert.ok(Math.abs(last - (Date.now() + a.lease.offset())) < 5_000, 'near the coordinator’s time')
  assert.equal(await a.driver.get(one), mark(last))
  await a.lease.put(one, mark(last + 90_000), null) // written by a server whose clock was ahead
  assert.equal(await b.lease.mark([one, two], mark), last + 90_001)
  assert.equal(await a.driver.get(two), mark(last + 90_001))
})

/* ------------------------------------------------------------- outcomes */

given('who was held gets the value that was stored', async ({ a, b, key, assert }) => {
  const waiting = await hold(a, b, key)
  await a.lease.fulfill(waiting.lease, text('v'), { keepMs: null })
  assert.deepEqual(await waiting.outcome, { kind: 'stored', text: text('v') })
})

given('who was held gets a value that nobody keeps', async ({ a, b, key, assert }) => {
  const waiting = await hold(a, b, key)
  assert.equal(await settle(a, waiting.lease, { kind: 'value', text: text('v') }), 'ended')
  assert.deepEqual(await waiting.outcome, { kind: 'value', text: text('v') })
  assert.equal(await a.driver.get(key), undefined)
})

given('who was held gets nothing, when there is nothing', async ({ a, b, key, assert }) => {
  const waiting = await hold(a, b, key)
  assert.equal(await settle(a, waiting.lease, { kind: 'nothing' }), 'ended')
  assert.deepEqual(await waiting.outcome, { kind: 'nothing' })
})

given('a large value that nobody keeps reaches who was held', async ({ a, b, key, assert }) => {
  const large = text('x'.repeat(100_000))
  const waiting = await hold(a, b, key)
  await settle(a, waiting.lease, { kind: 'value', text: large })
  assert.deepEqual(await waiting.outcome, { kind: 'value', text: large })
})

given('the first failure leaves a second chance, the second is everybody’s', async ({ a, b, key, assert }) => {
  const waiting = await hold(a, b, key)
  const error = { name: 'TypeError', message: 'no | "database" \n é🚀', code: 'E_DB' }
  assert.equal(await settle(a, waiting.lease, { kind: 'failed', error }), 'again')
  const second = await waiting.outcome
  assert.equal(second.kind, 'granted')
  const lease = second.kind === 'granted' ? second.lease : waiting.lease
  assert.equal(lease.term, waiting.lease.term)
  assert.equal(second.kind === 'granted' && second.fails, 1)

  const third = waitFor(a, key, { term: lease.term })
  assert.equal(await settle(b, lease, { kind: 'failed', error }), 'ended')
  assert.deepEqual(await third, { kind: 'failed', error })
  assert.equal((await acquire(b, key)).kind, 'granted') // a separate call tries again
})

given('a failure that nobody waits for is nobody’s second chance', async ({ a, b, key, assert }) => {
  const lease = leaseIn(await acquire(a, key))
  const error = { name: 'Error', message: 'down' }
  assert.equal(await settle(a, lease, { kind: 'failed', error }), 'ended')
  const next = await acquire(b, key)
  assert.equal(next.kind === 'granted' && next.fails, 0)
})

given('followers in the leader’s own process are a second chance as well', async ({ a, b, key, assert }) => {
  const lease = leaseIn(await acquire(a, key))
  const failed: Ending = { kind: 'failed', error: { name: 'Error', message: 'down' } }
  assert.equal(await a.lease.settle(lease, failed, { followers: true, backoffMs: 0 }), 'again')
  const next = await acquire(b, key)
  assert.equal(next.kind === 'granted' && next.fails, 1)
})

given('a failure is remembered for as long as the back-off', async ({ a, b, key, assert }) => {
  const lease = leaseIn(await acquire(a, key))
  const error = { name: 'Error', message: 'down', code: 'ECONNREFUSED' }
  await a.lease.settle(lease, { kind: 'failed', error }, { followers: false, backoffMs: 300 })
  const failed = await acquire(b, key)
  assert.equal(failed.kind, 'failed')
  assert.deepEqual(failed.kind === 'failed' && failed.error, error)
  assert.ok(failed.kind === 'failed' && failed.leftMs > 0 && failed.leftMs <= 300, 'time left')
  await until(async () => (await acquire(b, key)).kind === 'granted', 2_000)
})

given('who has no stale value need not respect a back-off', async ({ a, b, key, assert }) => {
  const failed: Ending = { kind: 'failed', error: { name: 'Error', message: 'down' } }
  for (const option of [{ ignoreFailure: true }, { force: true }]) {
    const of = `${key}:${Object.keys(option)}`
    await a.lease.settle(leaseIn(await acquire(a, of)), failed, { followers: false, backoffMs: 5_000 })
    assert.equal((await acquire(b, of, option)).kind, 'granted')
  }
})

given('an abandoned key goes to the next at once, in the same term', async ({ a, b, key, assert }) => {
  const waiting = await hold(a, b, key)
  assert.equal(await settle(a, waiting.lease, { kind: 'abandoned' }), 'again')
  const next = await waiting.outcome
  assert.equal(next.kind === 'granted' && next.lease.term, waiting.lease.term)
})

given('a refused leader still gives its value to who was held in its term', async ({ a, b, key, assert }) => {
  const waiting = await hold(a, b, key)
  await b.lease.invalidate([key], 'delete')
  assert.equal(await a.lease.fulfill(waiting.lease, text('v'), { keepMs: null }), 'refused')
  assert.equal(await settle(a, waiting.lease, { kind: 'value', text: text('v') }), 'lost')
  const outcome = await waiting.outcome
  // Heard, or, where nothing is heard, a turn of its own: but never the end of the wait.
  assert.ok(outcome.kind === 'value' ? outcome.text === text('v') : outcome.kind === 'granted', outcome.kind)
  assert.equal(await a.driver.get(key), undefined)
})

given('who is not the holder any more cannot end the term', async ({ a, b, key, assert, leaseSlack }) => {
  const lease = leaseIn(await acquire(a, key, { ttlMs: 60 }))
  await wait(60 + leaseSlack)
  const heir = leaseIn(await acquire(b, key))
  for (const ending of [{ kind: 'nothing' }, { kind: 'abandoned' }, { kind: 'failed', error: { name: 'E', message: '' } }] as const) {
    assert.equal(await settle(a, lease, ending), 'lost')
  }
  assert.equal(await b.lease.fulfill(heir, text('heir'), { keepMs: null }), 'stored')
})

/* ------------------------------------------------------ foreign writers */

given(
  'a value written without leases is not replaced by an older one',
  async ({ a, b, key, assert, foreignWrite }) => {
    for (const size of [1, 50_000]) {
      const of = `${key}:${size}`
      const lease = leaseIn(await acquire(a, of))
      await foreignWrite(b.driver, of, text('theirs'))
      assert.equal(await a.lease.fulfill(lease, text('x'.repeat(size)), { keepMs: null }), 'foreign')
      assert.equal(await b.driver.get(of), text('theirs'))
      assert.equal((await acquire(b, of, { seen: await seen(b, of) })).kind, 'granted')
    }
  },
  'foreignWrite'
)

given(
  'a foreign value that was seen may be replaced, whatever it looks like',
  async ({ a, key, assert, foreignWrite }) => {
    for (const [n, theirs] of ['{"value":1}', 'no json', '{"value":"é🚀","logicalExpiration":1,"tags":[],"createdAt":1}'].entries()) {
      await foreignWrite(a.driver, `${key}:${n}`, theirs)
      const lease = leaseIn(await acquire(a, `${key}:${n}`, { seen: a.lease.fingerprint(theirs) }))
      assert.equal(await a.lease.fulfill(lease, text('ours'), { keepMs: null }), 'stored')
    }
  },
  'foreignWrite'
)

given(
  'an attempt that was granted, and overwritten before it knew, leaves no orphan',
  async ({ a, b, key, assert, foreignWrite }) => {
    const attempt = a.attempt()
    await acquire(a, key, { attempt })
    await foreignWrite(b.driver, key, text('theirs'))
    assert.equal((await acquire(a, key, { attempt })).kind, 'changed')
    assert.equal((await acquire(b, key, { seen: await seen(b, key) })).kind, 'granted')
  },
  'foreignWrite'
)

/* -------------------------------------------------------------- watches */

given('a watch misses nothing that happens after it was opened', async ({ a, b, key, assert }) => {
  const watch = b.lease.watch(key)
  const lease = leaseIn(await acquire(a, key))
  await a.lease.fulfill(lease, text('v'), { keepMs: null })
  await wait(100)
  const outcome = await waitFor(b, key, { term: lease.term, watch })
  assert.equal(outcome.kind, 'stored')
})

given('a watch lets go in time, and when it is closed', async ({ a, key, assert }) => {
  const watch = a.lease.watch(key)
  const from = Date.now()
  const answer = await firstOf(watch, 50)
  assert.equal(answer, 'timeout')
  assert.ok(Date.now() - from < 1_000, 'in time')
  const pending = watch.next('', 60_000)
  watch.close()
  const late = wait(1_000).then(() => 'late' as const)
  assert.equal(await Promise.race([pending, late]), 'timeout')
})

/* -------------------------------------------------------------- helpers */

interface Given extends Required<Omit<LeaseSuiteOptions, 'createDrivers'>> {
  a: Process
  b: Process
  /** Nobody else's. */
  key: string
}

function given(name: string, run: (given: Given) => Promise<void>, needs?: 'foreignWrite'): void {
  leaseCases.push({
    name,
    ...(needs !== undefined && { needs }),
    async run(o) {
      const drivers = await o.createDrivers()
      const key = `case-${Date.now().toString(36)}-${count++}`
      const [a, b] = drivers.map(processOf)
      // A case may wait for timers of the library only, which keep no process alive.
      const alive = setInterval(() => {}, 1_000)
      const foreignWrite = o.foreignWrite ?? (() => Promise.reject(new Error('The case needs foreignWrite')))
      try {
        await run({ ttlGranularity: 1, leaseSlack: 50, ...o, foreignWrite, a: a!, b: b!, key })
      } finally {
        await Promise.all(drivers.map((driver) => driver.disconnect()))
        clearInterval(alive)
      }
    },
  })
}

function processOf(driver: L2CacheDriver): Process {
  const { lease } = driver
  if (lease === undefined) throw new Error('The driver has no lease capability')
  lease.feed?.open({ store: 'conformance', maxStalenessMs: 2_000, listener: { onEvent() {}, onVerified() {} } })
  const id = Math.random().toString(36).slice(2)
  let attempts = 0
  return { driver, lease, attempt: () => `${id}:${attempts++}` }
}

type Asked = Partial<Parameters<LeaseCapability['acquire']>[1]>

function acquire(process: Process, key: string, o: Asked = {}): Promise<Acquired> {
  return process.lease.acquire(key, { attempt: process.attempt(), ttlMs: TTL, seen: '', ...o })
}

async function seen(process: Process, key: string): Promise<string> {
  return process.lease.fingerprint(await process.driver.get(key))
}

function leaseIn(acquired: Acquired): Lease {
  if (acquired.kind !== 'granted') throw new Error(`Not granted but ${JSON.stringify(acquired)}`)
  return acquired.lease
}

function settle(process: Process, lease: Lease, ending: Ending) {
  return process.lease.settle(lease, ending, { followers: false, backoffMs: 0 })
}

type Outcome =
  | { kind: 'stored'; text: string }
  | Exclude<Ending, { kind: 'abandoned' }>
  | Extract<Acquired, { kind: 'granted' }>

/** `a` computes and `b` waits for it. */
async function hold(a: Process, b: Process, key: string): Promise<{ lease: Lease; outcome: Promise<Outcome> }> {
  const lease = leaseIn(await acquire(a, key, { ttlMs: 5_000 }))
  const watch = b.lease.watch(key)
  const held = await acquire(b, key)
  if (held.kind !== 'held') throw new Error(`Not held but ${held.kind}`)
  return { lease, outcome: waitFor(b, key, { term: held.term, watch }) }
}

/** As a flight waits: what it hears, or else what it finds when it looks again. */
async function waitFor(process: Process, key: string, o: { term: string; watch?: Watch }): Promise<Outcome> {
  const watch = o.watch ?? process.lease.watch(key)
  const attempt = process.attempt()
  try {
    for (const deadline = Date.now() + 5_000; Date.now() < deadline; ) {
      const event = await watch.next(o.term, 1_000)
      const outcome = event === 'timeout' || event.term !== o.term ? undefined : outcomeOf(event)
      if (outcome !== undefined) return outcome
      if (event !== 'timeout' && !['gap', 'again', 'stored', 'value'].includes(event.kind)) continue
      const text = await process.driver.get(key)
      if (text !== undefined) return { kind: 'stored', text }
      const acquired = await acquire(process, key, { attempt, heldIn: o.term, seen: '' })
      if (acquired.kind === 'granted') return acquired
      if (acquired.kind === 'ended' && acquired.ending.kind !== 'abandoned') return acquired.ending
      if (acquired.kind === 'failed') return { kind: 'failed', error: acquired.error }
    }
    throw new Error('Nobody told, and there was nothing to be found')
  } finally {
    watch.close()
  }
}

function outcomeOf(event: FeedEvent): Outcome | undefined {
  const { kind, text, error } = event
  if ((kind === 'stored' || kind === 'value') && text !== undefined) return { kind, text }
  if (kind === 'nothing') return { kind }
  if (kind === 'failed' && error !== undefined) return { kind, error }
  return undefined
}

/** 'gap's aside: a feed that has just come up tells of one. */
async function firstOf(watch: Watch, ms: number): Promise<FeedEvent | 'timeout'> {
  for (;;) {
    const event = await watch.next('', ms)
    if (event === 'timeout' || event.kind !== 'gap') return event
  }
}

function text(value: unknown, freshUntil = Infinity): string {
  return codec.encode(value, 1_700_000_000_000, freshUntil, [])
}

async function until(holds: () => Promise<boolean>, ms: number): Promise<void> {
  for (const deadline = Date.now() + ms; !(await holds()); await wait(10)) {
    if (Date.now() > deadline) throw new Error(`Not so within ${ms} ms`)
  }
}
