import type { CacheDriver, L2CacheDriver } from '../base/contract.js'
import { wait } from './wait.js'

/** The few assertions used; `node:assert/strict` and chai's `assert` have them. */
export interface StorageAssert {
  equal(actual: unknown, expected: unknown, message?: string): void
  deepEqual(actual: unknown, expected: unknown, message?: string): void
  ok(value: unknown, message?: string): void
}

export interface StorageSuiteOptions {
  /**
   * A driver of the storage under test. Without a prefix in `options`: under one of the suite's
   * own, always the same, which the cases clear.
   */
  createDriver(options?: { prefix?: string }): CacheDriver<any> | Promise<CacheDriver<any>>
  assert: StorageAssert
  /** Differences of ttls that the engine keeps apart, in ms. Default 100; DynamoDB 1000. */
  ttlGranularity?: number
  /** The longest text to try, in characters. Default 300,000. */
  longestText?: number
}

export interface StorageCase {
  name: string
  /** Asked by 1.6.1's suite too; the others are what this library relies on besides. */
  since161: boolean
  /** Makes its drivers, and clears and disconnects them. */
  run(o: StorageSuiteOptions): Promise<void>
  /** The same with a driver that others use as well: cleared before and after, left open. */
  runWith(driver: CacheDriver<any>, o: StorageSuiteOptions): Promise<void>
}

interface Given extends Required<StorageSuiteOptions> {
  driver: CacheDriver<true>
}

/**
 * What every storage driver must do. Knows no test runner: `for (const { name, run } of
 * storageCases) test(name, () => run(options))`.
 */
export const storageCases: StorageCase[] = []

/* ------------------------------------------------------- one key (1.6.1) */

since161('a key that was never set has no value', async ({ driver, assert }) => {
  assert.equal(await driver.get('missing'), undefined)
})

since161('what was set is read', async ({ driver, assert }) => {
  await driver.set('key', 'text')
  assert.equal(await driver.get('key'), 'text')
})

since161('a later set replaces an earlier one', async ({ driver, assert }) => {
  await driver.set('key', 'first')
  await driver.set('key', 'second')
  assert.equal(await driver.get('key'), 'second')
})

since161('set answers true', async ({ driver, assert }) => {
  assert.equal(await driver.set('key', 'text'), true)
  assert.equal(await driver.set('key', 'text', 60_000), true)
})

since161('after its ttl a value is gone, before it is there', async ({ driver, assert, ttlGranularity }) => {
  const ttl = 1.5 * ttlGranularity
  await driver.set('key', 'text', ttl)
  assert.equal(await driver.get('key'), 'text')
  await wait(ttl + ttlGranularity)
  assert.equal(await driver.get('key'), undefined)
})

since161('a deleted key is gone', async ({ driver, assert }) => {
  await driver.set('key', 'text')
  await driver.delete('key')
  assert.equal(await driver.get('key'), undefined)
})

since161('delete says that the key existed', async ({ driver, assert }) => {
  await driver.set('key', 'text')
  assert.equal(await driver.delete('key'), true)
})

since161('delete says that the key did not exist', async ({ driver, assert }) => {
  assert.equal(await driver.delete('key'), false)
})

since161('deleteMany removes all it is given', async ({ driver, assert }) => {
  await driver.set('a', '1')
  await driver.set('b', '2')
  await driver.set('c', '3')
  await driver.deleteMany(['a', 'b'])
  assert.deepEqual([await driver.get('a'), await driver.get('b'), await driver.get('c')], [undefined, undefined, '3'])
})

since161('deleteMany of nothing answers true', async ({ driver, assert }) => {
  assert.equal(await driver.deleteMany([]), true)
})

since161('pull reads and removes', async ({ driver, assert }) => {
  await driver.set('key', 'text')
  assert.equal(await driver.pull('key'), 'text')
  assert.equal(await driver.get('key'), undefined)
})

since161('pull of a missing key has no value', async ({ driver, assert }) => {
  assert.equal(await driver.pull('key'), undefined)
})

/* ----------------------------------------- prefixes and namespaces (1.6.1) */

since161('clear removes everything', async ({ driver, assert }) => {
  await driver.set('a', '1')
  await driver.set('b', '2')
  await driver.clear()
  assert.deepEqual([await driver.get('a'), await driver.get('b')], [undefined, undefined])
})

since161('clear spares what is under another prefix', async ({ driver, createDriver, assert }) => {
  const other: CacheDriver = await createDriver({ prefix: 'prefix' })
  await driver.set('key', '1')
  await other.set('key', '2')
  await driver.clear()
  assert.deepEqual([await driver.get('key'), await other.get('key')], [undefined, '2'])
  await other.clear()
  await other.disconnect()
})

since161('a namespace is another driver', async ({ driver, assert }) => {
  assert.ok(driver.namespace('users') !== driver)
})

since161('a namespace keeps its keys apart', async ({ driver, assert }) => {
  const users = driver.namespace('users')
  await users.set('key', 'theirs')
  assert.deepEqual([await users.get('key'), await driver.get('key')], ['theirs', undefined])
})

since161('clearing a namespace spares what is outside', async ({ driver, assert }) => {
  const users = driver.namespace('users')
  await driver.set('key', '1')
  await users.set('key', '2')
  await users.clear()
  assert.deepEqual([await driver.get('key'), await users.get('key')], ['1', undefined])
})

since161('clear takes the namespaces with it', async ({ driver, assert }) => {
  const users = driver.namespace('users')
  await users.set('key', '1')
  await driver.clear()
  assert.equal(await users.get('key'), undefined)
})

since161('a key of a namespace is read from above as namespace:key', async ({ driver, assert }) => {
  await driver.namespace('users').set('key1', '1')
  assert.equal(await driver.get('users:key1'), '1')
})

since161('namespaces nest', async ({ driver, assert }) => {
  await driver.namespace('users').namespace('posts').set('key1', '1')
  assert.equal(await driver.get('users:posts:key1'), '1')
})

since161('clearing a namespace spares one whose name only begins like it', async ({ driver, assert }) => {
  const [users, others] = [driver.namespace('users'), driver.namespace('usersAbc')]
  await users.set('key', '1')
  await others.set('key', '2')
  await users.clear()
  assert.deepEqual([await users.get('key'), await others.get('key')], [undefined, '2'])
})

/* ---------------------------------------------------------------- life */

given('a ttl of 0, or none, keeps for ever', async ({ driver, assert, ttlGranularity }) => {
  await driver.set('none', 'text')
  await driver.set('zero', 'text', 0)
  await wait(ttlGranularity)
  assert.deepEqual([await driver.get('none'), await driver.get('zero')], ['text', 'text'])
})

given('a set without ttl ends the ttl of an earlier one', async ({ driver, assert, ttlGranularity }) => {
  await driver.set('key', 'short', ttlGranularity)
  await driver.set('key', 'for ever')
  await wait(2.5 * ttlGranularity)
  assert.equal(await driver.get('key'), 'for ever')
})

given('a set with ttl starts it anew', async ({ driver, assert, ttlGranularity }) => {
  await driver.set('key', 'short', ttlGranularity)
  await driver.set('key', 'long', 60_000)
  await wait(2.5 * ttlGranularity)
  assert.equal(await driver.get('key'), 'long')
})

given('a ttl of years is one', async ({ driver, assert }) => {
  const years = 20 * 365 * 86_400_000
  await driver.set('key', 'text', years)
  assert.equal(await driver.get('key'), 'text')
})

given('an expired value is neither pulled nor counted', async ({ driver, assert, ttlGranularity }) => {
  await driver.set('key', 'text', ttlGranularity)
  await wait(2.5 * ttlGranularity)
  assert.equal(await driver.pull('key'), undefined)
  assert.equal(await driver.delete('key'), false)
})

given('prune removes what has expired and nothing else', async ({ driver, assert, ttlGranularity }) => {
  await driver.set('expired', 'text', ttlGranularity)
  await driver.set('alive', 'text', 60_000)
  await driver.set('for ever', 'text')
  await wait(2.5 * ttlGranularity)
  await driver.prune?.()
  const left = [await driver.get('expired'), await driver.get('alive'), await driver.get('for ever')]
  assert.deepEqual(left, [undefined, 'text', 'text'])
})

/* ---------------------------------------------------------------- text */

given('text comes back as it was', async ({ driver, assert }) => {
  const texts = ['{"value":"é 漢 🚀 \\u0000 \\ud800"}', `'"\`\\ % _ $1 ? :x \${y}`, '\r\n\t \u2028\u00a0', ' ends in spaces  ', '-1', 'null']
  for (const [i, text] of texts.entries()) {
    await driver.set(`key${i}`, text)
    assert.equal(await driver.get(`key${i}`), text)
  }
})

given('long text comes back whole', async ({ driver, assert, longestText }) => {
  const text = 'é漢🚀x'.repeat(longestText / 5 / 2).padEnd(longestText / 2, '.') // two bytes a character, more or less
  await driver.set('key', text)
  assert.ok((await driver.get('key')) === text, `${text.length} characters`)
})

/* ---------------------------------------------------------------- keys */

given('keys are the same only if they are the same byte for byte', async ({ driver, assert }) => {
  const keys = [
    'session:abc', 'session:ABC', 'session:abc ', 'session:abc  ', ' session:abc', 'session:\tabc', 'session:äbc',
    'session:a\u0308bc', 'session:ａbc', 'session:abc:', 'session::abc', ':session:abc', 'session', 'session/abc', 'session\\abc',
    'ß', 'ss', 'ẞ', 'i', 'ı', 'I', 'İ', 'o', 'ø', 'é', 'e\u0301', 'e', '漢', '🚀', '🛸', 'a🚀b', 'a🛸b', 'a\u200bb', 'ab', 'a\u00adb',
    '42', '042', '42.0', '4_2', '4%2', '4*2', '4?2', '4[2]', "4'2", '4"2', '4`2', '4\n2', '4$2', '4{2}', '4#2', '4&2', '4|2',
    '.', '..', './a', '../a', '..:..:a', 'a./b', 'a../b', '/a', 'a/', 'a:b/../c', '~', '~a', '%2e%2e', 'CON', 'a.', 'a. ',
  ]
  for (const key of keys) assert.equal(await driver.get(key), undefined, `before: ${key}`)
  for (const key of keys) await driver.set(key, `of ${key}`)
  for (const key of keys) assert.equal(await driver.get(key), `of ${key}`)
  for (const [i, key] of keys.entries()) {
    assert.equal(await driver.delete(key), true, `delete: ${key}`)
    assert.equal(await driver.get(key), undefined, `deleted: ${key}`)
    for (const other of keys.slice(i + 1, i + 4)) assert.equal(await driver.get(other), `of ${other}`, `after ${key}`)
  }
})

given('a key may be what another begins with', async ({ driver, assert }) => {
  const keys = ['user', 'user:1', 'user:1:name', 'user:1:name:first', 'user:2']
  for (const order of [keys, keys.toReversed()]) {
    for (const key of order) await driver.set(key, `of ${key}`)
    for (const key of order) assert.equal(await driver.get(key), `of ${key}`)
    for (const key of order) await driver.set(key, `new of ${key}`)
    for (const key of order) assert.equal(await driver.get(key), `new of ${key}`)
    await driver.namespace('user:1').clear()
    assert.deepEqual([await driver.get('user:1:name'), await driver.get('user:1')], [undefined, 'new of user:1'])
    await driver.namespace('user').clear()
    assert.deepEqual([await driver.get('user:1'), await driver.get('user')], [undefined, 'new of user'])
    assert.equal(await driver.delete('user'), true)
    assert.equal(await driver.get('user'), undefined)
  }
})

given('clear takes names as they are, not as patterns', async ({ driver, assert }) => {
  const pairs = [['a*', 'abc'], ['u[1]', 'u1'], ['a_b', 'axb'], ['a%b', 'axxb'], ['a?', 'ab'], ['a\\b', 'ab'], ['a\\_b', 'a_b'],
    ['Users', 'users'], ['über', 'uber'], ['a^b', 'ab'], ["it's", 'its'], ['a.b', 'axb'], ['a|b', 'a'], ['n ', 'n']] as const
  for (const [name, other] of pairs) {
    const [cleared, spared] = [driver.namespace(name), driver.namespace(other)]
    await cleared.set('key', '1')
    await spared.set('key', '2')
    await cleared.clear()
    assert.deepEqual([await cleared.get('key'), await spared.get('key')], [undefined, '2'], `${name} and ${other}`)
    await spared.clear()
    assert.equal(await spared.get('key'), undefined, other)
  }
})

given('colons at the end of a namespace count for nothing', async ({ driver, assert }) => {
  await driver.namespace('users:').namespace('a:b::').set('key', 'text')
  assert.equal(await driver.get('users:a:b:key'), 'text')
  assert.equal(await driver.namespace('').get('users:a:b:key'), 'text')
})

given('hundreds of keys at once', async ({ driver, assert }) => {
  const keys = Array.from({ length: 400 }, (_, i) => `many:${i}`)
  await Promise.all(keys.map((key) => driver.set(key, `of ${key}`, 60_000)))
  await driver.set('other', 'text')
  assert.deepEqual(await Promise.all(keys.map((key) => driver.get(key))), keys.map((key) => `of ${key}`))
  await driver.deleteMany([...keys.slice(0, 300), 'missing', keys[0]!])
  const left = await Promise.all(keys.map((key) => driver.get(key)))
  assert.equal(left.filter((text) => text !== undefined).length, 100)
  await driver.namespace('many').clear()
  assert.equal(await driver.get(keys[399]!), undefined)
  assert.equal(await driver.get('other'), 'text')
})

/* ---------------------------------------------------- several at a time */

given('of two that pull at once, one has the value', async ({ driver, assert }) => {
  await driver.set('key', 'text')
  const pulled = await Promise.all([driver.pull('key'), driver.pull('key')])
  assert.deepEqual(pulled.filter((text) => text !== undefined), ['text'])
})

given('a reader beside a writer sees an old text or a new one, always whole', async ({ driver, assert }) => {
  const texts = Array.from({ length: 10 }, (_, i) => `${i}`.repeat(50_000))
  await driver.set('key', texts[0]!)
  const writing = (async () => {
    for (const text of texts) await driver.set('key', text)
  })()
  for (let reads = 0; reads < 30; reads++) {
    const text = await driver.get('key')
    assert.ok(texts.includes(text ?? ''), `${text?.length} characters`)
  }
  await writing
  assert.ok((await driver.get('key')) === texts.at(-1))
})

given('what is set while others clear is whole or gone', async ({ driver, assert }) => {
  const users = driver.namespace('users')
  const [setting, clearing] = [users.set('key:1', 'text'), users.clear()]
  await Promise.all([setting, clearing])
  const text = await users.get('key:1')
  assert.ok(text === 'text' || text === undefined, text)
  await users.set('key:1', 'again')
  assert.equal(await users.get('key:1'), 'again')
})

/* ----------------------------------------------------- what may be there */

given('getMany, if it is there, answers in order', async ({ driver, assert }) => {
  const { getMany } = driver as L2CacheDriver
  if (getMany === undefined) return assert.equal(getMany, undefined)
  const keys = Array.from({ length: 120 }, (_, i) => `key${i}`)
  for (const key of keys.slice(0, 110)) await driver.set(key, `of ${key}`)
  const texts = keys.map((key, i) => (i < 110 ? `of ${key}` : undefined))
  assert.deepEqual(await getMany.call(driver, ['missing', ...keys, 'key0']), [undefined, ...texts, 'of key0'])
  assert.deepEqual(await getMany.call(driver, []), [])
})

given('remainingTtl, if it is there, tells what is left', async ({ driver, assert, ttlGranularity }) => {
  const { remainingTtl } = driver as L2CacheDriver
  if (remainingTtl === undefined) return assert.equal(remainingTtl, undefined)
  await driver.set('for ever', 'text')
  await driver.set('an hour', 'text', 3_600_000)
  assert.equal(await remainingTtl.call(driver, 'for ever'), Infinity)
  assert.equal(await remainingTtl.call(driver, 'missing'), 0)
  const left = await remainingTtl.call(driver, 'an hour')
  assert.ok(Math.abs(left - 3_600_000) <= 2 * ttlGranularity + 5_000, `${left} ms of an hour`)
})

/* ----------------------------------------------------------------- end */

given('disconnecting twice is disconnecting once', async ({ createDriver, assert }) => {
  const driver: CacheDriver = await createDriver({ prefix: 'prefix' })
  await driver.set('key', 'text')
  await driver.clear()
  const startedAt = Date.now()
  await Promise.all([driver.disconnect(), driver.namespace('users').disconnect()])
  await driver.disconnect()
  assert.ok(Date.now() - startedAt < 2_000)
})

function since161(name: string, body: (o: Given) => Promise<void>): void {
  add(name, true, body)
}

function given(name: string, body: (o: Given) => Promise<void>): void {
  add(name, false, body)
}

function add(name: string, since161: boolean, body: (o: Given) => Promise<void>): void {
  const runWith = async (driver: CacheDriver<any>, o: StorageSuiteOptions) => {
    await driver.clear()
    // The answers of an L1 driver are awaited as well.
    await body({ ttlGranularity: 100, longestText: 300_000, ...o, driver: driver as CacheDriver })
    await driver.clear()
  }
  const run = async (o: StorageSuiteOptions) => {
    const driver = await o.createDriver()
    try {
      await runWith(driver, o)
    } finally {
      await driver.disconnect()
    }
  }
  storageCases.push({ name, since161, run, runWith })
}
