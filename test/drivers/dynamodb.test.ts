import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb'
import { build } from 'esbuild'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { DynamoDbDriver as Old } from '../../bench/node_modules/bentocache/build/src/drivers/dynamodb.js'
import { storageCases } from '../../src/conformance/index.js'
import { DynamoDbDriver, dynamoDbDriver } from '../../src/drivers/dynamodb.js'
import { upgradeTogether } from '../support/both-versions.js'
import { startDynamo } from '../support/dynamo.js'
import type { DynamoServer } from '../support/dynamo.js'

let server: DynamoServer
let name: string
beforeAll(async () => {
  server = await startDynamo()
})
afterAll(() => server.stop())
beforeEach(async () => {
  name = await server.createTable()
})

const driverOf = (prefix = 'bentocache') => new DynamoDbDriver({ ...server.connection, table: { name }, prefix })
const oldOf = (prefix = 'bentocache') => new Old({ ...server.connection, table: { name }, prefix })
const item = async (key: string) =>
  (await server.client.send(new GetItemCommand({ TableName: name, Key: { key: { S: key } } }))).Item

describe('storage', () => {
  for (const { name: title, run } of storageCases) {
    const ttlGranularity = 1_000
    test(title, () => run({ assert, ttlGranularity, createDriver: ({ prefix = 'kit' } = {}) => driverOf(prefix) }))
  }
})

describe('a table shared with 1.6.1', () => {
  test('what 1.6.1 wrote is read, pulled, deleted and cleared', async () => {
    const [ours, theirs] = [driverOf(), oldOf()]
    for (const key of ['key', 'users:1', 'users:2', 'é 🚀']) await theirs.set(key, `of ${key}`, 60_000)
    expect(await ours.getMany(['key', 'users:1', 'é 🚀'])).toEqual(['of key', 'of users:1', 'of é 🚀'])
    expect(await ours.pull('key')).toBe('of key')
    expect(await ours.delete('é 🚀')).toBe(true)
    await ours.namespace('users').clear()
    for (const key of ['key', 'users:1', 'users:2', 'é 🚀']) expect(await theirs.get(key)).toBeUndefined()
  })

  test('what ours wrote is read, deleted and cleared by 1.6.1', async () => {
    const [ours, theirs] = [driverOf(), oldOf()]
    await ours.set('key', 'text', 60_000)
    await ours.namespace('users').set('1', 'for ever')
    expect([await theirs.get('key'), await theirs.get('users:1')]).toEqual(['text', 'for ever'])
    expect(await theirs.delete('key')).toBe(true)
    await theirs.clear()
    expect(await ours.getMany(['key', 'users:1'])).toEqual([undefined, undefined])
  })

  test('caches of both versions share a table', () => upgradeTogether({ ours: driverOf(), theirs: oldOf() }))

  test('an item is the full key, the text and the second it ends', async () => {
    const now = 1_795_408_738_976
    const driver = dynamoDbDriver({ ...server.connection, table: { name } }).factory({
      ...server.connection, table: { name }, prefix: 'app', clock: { now: () => now, setTimeout, clearTimeout: () => {} },
    })
    await driver.set('users:1', '{"value":1}', 1_500)
    await driver.set('for ever', 'text')
    expect(await item('app:users:1')).toEqual({ key: { S: 'app:users:1' }, value: { S: '{"value":1}' }, ttl: { N: '1795408740' } })
    expect(await item('app:for ever')).toEqual({ key: { S: 'app:for ever' }, value: { S: 'text' } })
  })

  test('a number is read as text, and an item whose second has passed is not there', async () => {
    const put = (Item: Record<string, any>) => server.client.send(new PutItemCommand({ TableName: name, Item }))
    const second = Math.floor(Date.now() / 1_000)
    await put({ key: { S: 'bentocache:number' }, value: { N: '42' } })
    await put({ key: { S: 'bentocache:over' }, value: { S: 'text' }, ttl: { N: String(second - 1) } })
    const driver = driverOf()
    expect(await driver.getMany(['number', 'over'])).toEqual(['42', undefined])
    expect([await driver.get('number'), await driver.get('over'), await driver.remainingTtl('over')]).toEqual(['42', undefined, 0])
    expect([await driver.delete('over'), await driver.pull('over')]).toEqual([false, undefined])
  })
})

describe('many keys', () => {
  test('250 keys are read in 3 requests and deleted in 10', async () => {
    const driver = driverOf()
    const keys = Array.from({ length: 250 }, (_, i) => `key${i}`)
    await Promise.all(keys.map((key) => driver.set(key, `of ${key}`)))
    server.resetRequests()
    expect(await driver.getMany(keys)).toEqual(keys.map((key) => `of ${key}`))
    expect(server.requests('BatchGetItem')).toBe(3)
    await driver.deleteMany(keys)
    expect(server.requests('BatchWriteItem')).toBe(10)
    expect((await driver.getMany(keys)).every((text) => text === undefined)).toBe(true)
  })

  test('deleteMany of 4,000 keys deletes them', async () => {
    const driver = driverOf()
    const keys = Array.from({ length: 4_000 }, (_, i) => `key${i}`)
    const some = keys.filter((_, i) => i % 40 === 0)
    await Promise.all(some.map((key) => driver.set(key, 'text')))
    await driver.set('other', 'text')
    expect(await driver.deleteMany(keys)).toBe(true)
    expect((await driver.getMany(some)).some((text) => text !== undefined)).toBe(false)
    expect(await driver.get('other')).toBe('text')
  })

  test('[36] without a prefix, clear empties the table, over several pages', async () => {
    const driver = driverOf('')
    const big = 'x'.repeat(200_000) // a page of a scan is 1 MB
    for (let i = 0; i < 12; i++) await driver.set(`key${i}`, big)
    await driverOf('app').set('key', 'text')
    server.resetRequests()
    await driver.clear()
    expect(server.requests('Scan')).toBeGreaterThan(1)
    expect(await driver.getMany(['key0', 'key11', 'app:key'])).toEqual([undefined, undefined, undefined])
  })

  test('what a busy table gives back is asked again', async () => {
    const { client } = server
    let refusals = 2
    const busy = {
      destroy() {},
      async send(command: any) {
        const items = command.input.RequestItems?.[name]
        if (items === undefined || refusals-- <= 0) return client.send(command)
        const done = { ...command.input, RequestItems: { [name]: items.slice(0, 1) } }
        await client.send(new command.constructor(done))
        return { UnprocessedItems: { [name]: items.slice(1) } }
      },
    }
    const driver = new DynamoDbDriver({ table: { name }, prefix: 'app', client: busy })
    for (const key of ['a', 'b', 'c']) await driver.set(key, 'text')
    await driver.deleteMany(['a', 'b', 'c'])
    expect(await driverOf('app').getMany(['a', 'b', 'c'])).toEqual([undefined, undefined, undefined])
  })
})

describe('the end', () => {
  test('[51] a client of the user stays usable, our own is closed', async () => {
    const driver = new DynamoDbDriver({ table: { name }, prefix: 'app', client: server.client })
    await driver.set('key', 'text')
    await driver.namespace('users').disconnect()
    await driver.disconnect()
    expect(await item('app:key')).toMatchObject({ value: { S: 'text' } })
  })

  test('[R7] disconnect settles without a connection, and with nobody at its end', async () => {
    const endpoint = 'http://127.0.0.1:1'
    const driver = new DynamoDbDriver({ ...server.connection, endpoint, table: { name } })
    await driver.disconnect()
    await expect(driver.get('key')).rejects.toThrow()
    const startedAt = Date.now()
    await driver.disconnect()
    await driver.disconnect()
    expect(Date.now() - startedAt).toBeLessThan(2_000)
  })

  test('without the package, one sentence says which to install; with it, a program ends after disconnect', async () => {
    const home = mkdtempSync(join(tmpdir(), 'bentocache-dynamo-'))
    try {
      const bundle = (external: string[]) =>
        build({ entryPoints: ['src/drivers/dynamodb.ts'], bundle: true, platform: 'node', format: 'esm', external, outfile: join(home, 'driver.mjs'), banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)" } })
      writeFileSync(join(home, 'program.mjs'), `
        import { DynamoDbDriver } from './driver.mjs'
        const driver = new DynamoDbDriver(${JSON.stringify({ ...server.connection, table: { name }, prefix: 'app' })})
        console.log(await driver.set('key', 'text').catch((error) => error.message))
        await driver.disconnect()`)
      const program = () => promisify(execFile)(process.execPath, [join(home, 'program.mjs')], { timeout: 20_000 })
      await bundle(['@aws-sdk/client-dynamodb'])
      expect((await program()).stdout).toContain('npm install @aws-sdk/client-dynamodb')
      await bundle([])
      expect((await program()).stdout).toBe('true\n')
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  })
})
