import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { FileDriver as Old } from '../../bench/node_modules/bentocache/build/src/drivers/file/file.js'
import { storageCases } from '../../src/conformance/index.js'
import { FileDriver, fileDriver } from '../../src/drivers/file/file.js'
import { asideOf, pathOf } from '../../src/drivers/file/paths.js'
import { errors } from '../../src/index.js'
import { upgradeTogether } from '../support/both-versions.js'

const run = promisify(execFile)
const home = mkdtempSync(join(tmpdir(), 'bentocache-file-'))
const bundle = join(home, 'file-driver.mjs')
beforeAll(() => build({ entryPoints: ['src/drivers/file/file.ts'], bundle: true, platform: 'node', format: 'esm', outfile: bundle }))
afterAll(() => rmSync(home, { recursive: true, force: true }))

let count = 0
let directory: string
beforeEach(() => {
  directory = join(home, `${++count}`)
})

const driverOf = (prefix = 'bentocache') => new FileDriver({ directory, prefix })
const oldOf = (prefix = 'bentocache') => new Old({ directory, prefix, pruneInterval: false })
const filesBelow = (path: string) =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))
    .sort()

/** A program of its own, that finds `driver` and `directory` ready. */
const program = (body: string) => `
  import { FileDriver } from ${JSON.stringify(bundle)}
  const directory = ${JSON.stringify(directory)}
  const driver = new FileDriver({ directory, prefix: 'bentocache' })
  ${body}`

describe('storage', () => {
  for (const { name, run } of storageCases) {
    test(name, () => run({ assert, createDriver: ({ prefix = 'kit' } = {}) => driverOf(prefix) }))
  }
})

describe('a directory shared with 1.6.1', () => {
  const keys = ['plain', 'users:7', 'users:admins:1', 'userProfile', 'A b ü', 'é', '.hidden', '~home', 'user%20x', 'a\\b', 'x'.repeat(255)]

  test('what 1.6.1 wrote is read, at the same path', async () => {
    for (const key of keys) await oldOf().set(key, `of ${key}`, 60_000)
    const before = filesBelow(directory)
    for (const key of keys) expect(await driverOf().get(key)).toBe(`of ${key}`)
    expect(await driverOf().remainingTtl('plain')).toBeGreaterThan(50_000)
    for (const key of keys) await driverOf().set(key, `new of ${key}`)
    expect(filesBelow(directory)).toEqual(before)
  })

  test('what ours wrote is read by 1.6.1, and deleted by it', async () => {
    const [ours, theirs] = [driverOf(), oldOf()]
    for (const key of keys) await ours.set(key, `of ${key}`, 60_000)
    await ours.set('for ever', 'text')
    for (const key of keys) expect(await theirs.get(key)).toBe(`of ${key}`)
    expect(await theirs.get('for ever')).toBe('text')
    for (const key of keys) expect(await theirs.delete(key)).toBe(true)
    for (const key of keys) expect(await ours.get(key)).toBeUndefined()
  })

  test('the content of a file is the text and its end in ms, -1 for never', async () => {
    const before = Date.now()
    await driverOf().set('users:7', '{"value":"é"}', 60_000)
    await driverOf().set('for ever', 'text')
    const [text, deadAt] = JSON.parse(readFileSync(join(directory, 'bentocache/users/7'), 'utf8'))
    expect(text).toBe('{"value":"é"}')
    expect(deadAt - before).toBeGreaterThanOrEqual(60_000)
    expect(deadAt - before).toBeLessThan(65_000)
    expect(readFileSync(join(directory, 'bentocache/for ever'), 'utf8')).toBe('["text",-1]')
  })

  test('caches of both versions share a directory', () => upgradeTogether({ ours: driverOf(), theirs: oldOf() }))

  test('clear and namespaces of the one reach what the other wrote', async () => {
    await driverOf().namespace('users').set('1', 'ours')
    expect(await oldOf().namespace('users').get('1')).toBe('ours')
    await oldOf().namespace('users').clear()
    expect(await driverOf().get('users:1')).toBeUndefined()
    await oldOf().namespace('users').set('2', 'theirs')
    await driverOf().namespace('users').clear()
    expect(await oldOf().get('users:2')).toBeUndefined()
  })

  test('1.6.1 never leaves a key that had to step aside behind an older text', async () => {
    const [ours, theirs] = [driverOf(), oldOf()]
    await ours.set('user', 'v1')
    await ours.set('user:1', 'x') // v1 steps aside
    await theirs.namespace('user').clear() // and the directory is gone
    await ours.set('user', 'v2')
    await theirs.delete('user')
    expect(await ours.get('user')).toBeUndefined()
  })
})

describe('[8] nothing outside the directory', () => {
  const escapes = ['..:..:x', '../../x', '..', ':..:..:x', './../x', '/etc/x', '..\\..\\x', 'a:..:..:..:x', '%2e%2e:x', '\0', 'x\0y']

  test('[8] a key that climbs is stored inside', async () => {
    const outside = join(home, 'outside')
    writeFileSync(outside, 'untouched')
    const [driver, siblings] = [driverOf(), () => readdirSync(home).filter((name) => name !== `${count}`).sort()]
    const before = siblings()
    for (const key of [...escapes, '..:..:outside', '../../outside']) {
      expect(await driver.get(key)).toBeUndefined()
      await driver.set(key, `of ${key}`)
      expect(await driver.get(key)).toBe(`of ${key}`)
      await driver.namespace(key).set('k', 'text')
      await driver.namespace(key).clear()
      expect(await driver.get(key)).toBe(`of ${key}`)
      expect(await driver.delete(key)).toBe(true)
    }
    await driverOf('..').set('k', 'text')
    await driverOf('..:..').clear()
    expect(await driverOf('..').get('k')).toBe('text')
    expect(siblings()).toEqual(before)
    expect(readFileSync(outside, 'utf8')).toBe('untouched')
  })

  test('[8] two keys never share a path, and every path is inside', () => {
    const part = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.string({ maxLength: 4 }),
      fc.constantFrom('', '.', '..', '/', '../', '~bc-', '~bc-e~%0041', 'a', 'A', 'é', 'e\u0301', '\ud800', '\udfff', 'con', 'x'.repeat(300)),
    )
    const key = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join(':'))
    for (const folds of [false, true]) {
      const fold = (path: string) => (folds ? path.toLowerCase().normalize('NFC') : path)
      const places = (key: string) => [pathOf('/cache', key, folds), asideOf(pathOf('/cache', key, folds))].map(fold)
      fc.assert(
        fc.property(key, key, (a, b) => {
          expect(new Set([...places(a), ...places(b)]).size).toBe(a === b ? 2 : 4)
          for (const place of places(a)) {
            const [root, cache, ...names] = place.split('/')
            expect([root, cache]).toEqual(['', 'cache'])
            for (const name of names) expect(name === '' || name === '.' || name === '..' || Buffer.byteLength(name) > 255).toBe(false)
          }
        }),
        { numRuns: 3_000 }
      )
    }
  })

  test('where file systems fold case, keys that fold together keep apart', () => {
    const names = (key: string) => pathOf('/cache', key, true).toLowerCase().normalize('NFC')
    const keys = ['session:abc', 'session:ABC', 'Session:abc', 'session:é', 'session:e\u0301', 'con', 'CON', 'a', 'a.', 'a ', 'a.b']
    expect(new Set(keys.map(names)).size).toBe(keys.length)
    expect(pathOf('/cache', 'users:7:posts.list', true)).toBe('/cache/users/7/posts.list')
    expect(pathOf('/cache', 'session:ABC', false)).toBe('/cache/session/ABC')
  })
})

describe('[39] keys that 1.6.1 could not keep', () => {
  test('[39] user and user:1, in either order, from two processes', async () => {
    for (const keys of [['user', 'user:1', 'user:1:2'], ['user:1:2', 'user:1', 'user']]) {
      const [a, b] = [driverOf(), driverOf()]
      for (const key of keys) await a.set(key, `of ${key}`)
      for (const key of keys) expect(await b.get(key)).toBe(`of ${key}`)
      for (const key of keys) expect(await b.delete(key)).toBe(true)
      for (const key of keys) expect(await a.get(key)).toBeUndefined()
    }
  })

  test('[39] a/b is not a:b: what 1.6.1 wrote for either stays the text of a:b, and is a miss as a/b', async () => {
    const [ours, theirs] = [driverOf(), oldOf()]
    await theirs.set('a/b', 'theirs', 60_000)
    expect([await ours.get('a/b'), await ours.get('a:b')]).toEqual([undefined, 'theirs'])
    await ours.set('a/b', 'ours')
    expect([await ours.get('a/b'), await ours.get('a:b'), await theirs.get('a/b')]).toEqual(['ours', 'theirs', 'theirs'])
    expect(await ours.delete('a/b')).toBe(true)
    expect(await ours.get('a:b')).toBe('theirs')
  })

  test('[39] user and user:1 written at once, many times', async () => {
    const driver = driverOf()
    for (let round = 0; round < 30; round++) {
      const keys = [`u${round}`, `u${round}:1`, `u${round}:1:2`, `u${round}:1:3`]
      await Promise.all(keys.map((key) => driver.set(key, `of ${key}`)))
      for (const key of keys) expect(await driver.get(key)).toBe(`of ${key}`)
    }
  })

  test('[39] x/y and x:y, a key of 300 characters, a./b, ./a and the empty key', async () => {
    const keys = ['x/y', 'x:y', 'k'.repeat(300), 'k'.repeat(299), '漢'.repeat(300), 'a./b', './a', '', ':', 'k:', ':k', 'a::b', 'a:b']
    const driver = driverOf()
    for (const key of keys) await driver.set(key, `of ${key}`)
    for (const key of keys) expect(await driver.get(key)).toBe(`of ${key}`)
  })

  test('[39] a key too long for any path is a clear error, and is missing', async () => {
    const key = Array.from({ length: 3_000 }, () => 'part').join(':')
    await expect(driverOf().set(key, 'text')).rejects.toThrow(errors.E_INVALID_KEY)
    expect(await driverOf().get(key)).toBeUndefined()
    expect(await driverOf().delete(key)).toBe(false)
  })

  test('[39] an expired file is removed when it is read', async () => {
    const clock = { now: () => now, setTimeout: () => undefined, clearTimeout: () => {} }
    let now = 1_000_000
    const driver = new FileDriver({ directory, prefix: 'bentocache', clock })
    await driver.set('key', 'text', 500)
    now += 499
    expect(await driver.get('key')).toBe('text')
    now += 1
    expect(await driver.get('key')).toBeUndefined()
    expect(filesBelow(directory)).toEqual([])
  })

  test('[39] a process killed while it writes leaves the old text or the new one, whole', async () => {
    const driver = driverOf()
    const texts = ['a', 'b'].map((letter) => letter.repeat(4_000_000))
    await driver.set('key', texts[0]!)
    for (let round = 0; round < 5; round++) {
      const body = "for (let i = 0; ; i++) { await driver.set('key', (i % 2 ? 'a' : 'b').repeat(4_000_000)); process.stdout.write('.') }"
      const child = spawn(process.execPath, ['--input-type=module', '-e', program(body)], { stdio: ['ignore', 'pipe', 'inherit'] })
      const exited = new Promise((resolve) => child.once('exit', resolve))
      await new Promise((resolve) => child.stdout.once('data', resolve))
      setTimeout(() => child.kill('SIGKILL'), 3 + round * 7)
      await exited
      expect(texts.includes((await driver.get('key')) ?? '')).toBe(true)
    }
  })
})

describe('pruning', () => {
  test('files that are empty or broken are removed, and what is none of its business is not', async () => {
    await driverOf().set('alive', 'text', 60_000)
    await driverOf().set('users:dead', 'text', 1)
    const inside = (name: string) => join(directory, 'bentocache', name)
    writeFileSync(inside('broken'), '["half')
    writeFileSync(inside('empty'), '')
    mkdirSync(join(directory, 'other'))
    writeFileSync(join(directory, 'other/file'), 'of somebody else')
    await new Promise((resolve) => setTimeout(resolve, 5))
    await driverOf().prune()
    expect(filesBelow(directory)).toEqual(['bentocache/alive', 'other/file'])
    await driverOf('missing').prune()
  })

  test('drafts of processes that died are removed, those of the living are not', async () => {
    await driverOf().set('alive', 'text')
    const draft = (name: string) => join(directory, 'bentocache', `~bc-t~${name}`)
    for (const name of ['dead', 'living']) writeFileSync(draft(name), '["half')
    utimesSync(draft('dead'), 1_000, 1_000)
    await driverOf().prune()
    expect([existsSync(draft('dead')), existsSync(draft('living'))]).toEqual([false, true])
  })

  test('[40] it is off unless asked for', async () => {
    const timers: number[] = []
    const clock = { now: Date.now, setTimeout: (_: () => void, delay: number) => timers.push(delay), clearTimeout: () => {} }
    fileDriver({ directory }).factory({ directory, clock })
    for (const pruneInterval of [false, 0] as const) new FileDriver({ directory, clock, pruneInterval })
    expect(timers).toEqual([])
    new FileDriver({ directory, clock, pruneInterval: '30s' })
    expect(timers).toEqual([30_000])
  })

  test('[N21] null switches it off', () => {
    const timers: number[] = []
    const clock = { now: Date.now, setTimeout: (_: () => void, delay: number) => timers.push(delay), clearTimeout: () => {} }
    new FileDriver({ directory, clock, pruneInterval: null })
    expect(timers).toEqual([])
    expect(() => new FileDriver({ directory, pruneInterval: 'banana' })).toThrow(errors.E_INVALID_OPTION)
  })

  test('it comes again after each interval, until disconnect', async () => {
    const armed: (() => void)[] = []
    const clock = { now: Date.now, setTimeout: (callback: () => void) => armed.push(callback), clearTimeout: (n: unknown) => void (armed[(n as number) - 1] = () => {}) }
    const driver = new FileDriver({ directory, prefix: 'bentocache', clock, pruneInterval: 1_000 })
    for (const round of [1, 2]) {
      await driver.set('dead', 'text', -1)
      armed[round - 1]!()
      await expect.poll(() => armed.length).toBe(round + 1)
      expect(filesBelow(directory)).toEqual([])
    }
    await driver.disconnect()
    await driver.set('dead', 'text', -1)
    armed[2]!()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(filesBelow(directory)).toEqual(['bentocache/dead'])
  })

  test('[40] a program that prunes ends by itself', async () => {
    const body = "new FileDriver({ directory, pruneInterval: 20 }); await driver.set('key', 'text'); console.log(await driver.get('key'))"
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program(body)], { timeout: 10_000 })
    expect(stdout).toBe('text\n')
  })
})

describe('limits', () => {
  test('[R6] thousands of operations at once under a limit of 200 open files: none fails', async () => {
    const body = `
      const keys = Array.from({ length: 3_000 }, (_, i) => 'dir' + (i % 50) + ':' + i)
      const settled = [
        ...await Promise.allSettled(keys.map((key) => driver.set(key, 'of ' + key))),
        ...await Promise.allSettled(keys.map(async (key) => { if (await driver.get(key) !== 'of ' + key) throw new Error(key) })),
        ...await Promise.allSettled([driver.prune(), driver.prune(), ...keys.map((key) => driver.pull(key))]),
        ...await Promise.allSettled([driver.clear(), driver.deleteMany(keys)]),
      ]
      console.log(JSON.stringify({ of: settled.length, failed: settled.filter(({ status }) => status === 'rejected').length }))`
    const script = join(home, 'limited.mjs')
    writeFileSync(script, program(body))
    const { stdout } = await run('sh', ['-c', `ulimit -n 200; exec "${process.execPath}" "${script}"`], { timeout: 100_000 })
    expect(JSON.parse(stdout)).toEqual({ of: 9_004, failed: 0 })
  })

  test('[N22] only the key is mapped: a colon in the directory stays', async () => {
    const driver = new FileDriver({ directory: join(directory, 'C:cache'), prefix: 'a:b' })
    await driver.set('c:d', 'text')
    expect(filesBelow(directory)).toEqual(['C:cache/a/b/c/d'])
  })

  test('[36] without a prefix, clear empties the directory', async () => {
    const driver = driverOf('')
    await driver.set('key', 'text')
    await driver.set('users:1', 'text')
    expect(filesBelow(directory)).toEqual(['key', 'users/1'])
    await driver.clear()
    expect(readdirSync(directory)).toEqual([])
  })

  test('[R7] disconnecting again does no harm, and what is corrupt is a miss', async () => {
    const driver = driverOf()
    await driver.set('key', 'text')
    await driver.disconnect()
    await driver.disconnect()
    const path = join(directory, 'bentocache/key')
    for (const content of ['', '["half', '42', '{}', '[1,2]', 'null']) {
      writeFileSync(path, content)
      expect(await driver.get('key')).toBeUndefined()
    }
    await driver.set('key', 'again')
    expect(await driver.get('key')).toBe('again')
  })

  test('a directory that cannot be one is an error, not a loop', async () => {
    mkdirSync(dirname(directory), { recursive: true })
    writeFileSync(directory, 'a file')
    await expect(driverOf().set('key', 'text')).rejects.toMatchObject({ code: 'ENOTDIR' })
    expect(() => new FileDriver({ directory: undefined as unknown as string })).toThrow(errors.E_INVALID_OPTION)
  })
})
