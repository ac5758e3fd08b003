import assert from 'node:assert/strict'
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { storageCases } from '../../src/conformance/storage.js'
import { networkTypeOf } from '../../src/drivers/host/directory.js'
import { HostDriver, hostDriver } from '../../src/drivers/host/host.js'
import { startProcess, startProcesses } from '../support/process.js'

const WORKER = new URL('../support/host-driver.mjs', import.meta.url)
const CACHE = new URL('../support/host-cache.mjs', import.meta.url)
const COST = new URL('../support/host-cost.mjs', import.meta.url)
const CHURN = new URL('../support/host-churn.mjs', import.meta.url)
const directories: string[] = []

afterAll(() => directories.forEach((directory) => rmSync(directory, { recursive: true, force: true })))

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'bento-host-'))
  directories.push(directory)
  return directory
}

function open(directory: string, o: { maxSize?: string; prefix?: string } = {}): HostDriver {
  return new HostDriver({ directory, maxSize: '16mb', prefix: 'p', ...o })
}

function liveMap(directory: string): string {
  return join(directory, readdirSync(directory).find((name) => name.startsWith('live-'))!)
}

/** How often any thread of a process has begun to wait, and thus has been woken. */
function wakeUpsOf(pid: number): number {
  const counts = readdirSync(`/proc/${pid}/task`).map((thread) => /^voluntary_ctxt_switches:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1')))
  return counts.reduce((sum, count) => sum + Number(count?.[1]), 0)
}

async function until(holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  for (const end = Date.now() + ms; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`not so within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('storage', () => {
  const directory = temporary()
  for (const { name, run } of storageCases) {
    test(name, () => run({ assert, createDriver: (o) => open(directory, o), ttlGranularity: 20 }))
  }

  test('keys of any length are kept apart, and found again', async () => {
    const driver = open(temporary())
    const keys = [2, 1_800, 1_896, 1_898, 1_900, 2_000, 5_000].flatMap((length) => ['a', 'b'].map((last) => 'é'.repeat(length / 2) + last))
    for (const [i, key] of keys.entries()) await driver.set(key, `value ${i}`)
    expect(await driver.getMany(keys)).toEqual(keys.map((_, i) => `value ${i}`))
    await driver.clear()
    expect(await driver.getMany(keys)).toEqual(keys.map(() => undefined))
    await driver.disconnect()
  })

  test('roots with different prefixes share a directory, and nothing else', async () => {
    const directory = temporary()
    const [one, two, all] = ['one', 'two', ''].map((prefix) => open(directory, { prefix }))
    await one!.set('key', '1')
    await two!.set('key', '2')
    await one!.clear()
    expect([await one!.get('key'), await two!.get('key'), await all!.get('two:key')]).toEqual([undefined, '2', '2'])
    await all!.clear()
    expect(await two!.get('key')).toBe(undefined)
    await Promise.all([one, two, all].map((driver) => driver!.disconnect()))
  })
})

describe('a directory that is unfit is refused, and the error says why', () => {
  test('none, or one whose name is no text', () => {
    expect(() => hostDriver({} as any)).toThrow(/"directory".*received undefined/)
    expect(() => hostDriver({ directory: 7 as any })).toThrow(/"directory".*received 7/)
  })

  test('a size that no map could have', () => {
    expect(() => hostDriver({ directory: temporary(), maxSize: '64kb' })).toThrow(/"maxSize".*'1mb' or more/)
    expect(() => hostDriver({ directory: temporary(), maxSize: 'big' })).toThrow(/"maxSize"/)
  })

  test('wider rights than 0700', () => {
    for (const mode of [0o755, 0o770, 0o701]) {
      const directory = temporary()
      chmodSync(directory, mode)
      expect(() => open(directory)).toThrow(new RegExp(`no other user may enter: this one has mode ${mode.toString(8)}`))
    }
  })

  test('another user’s', () => {
    const directory = temporary()
    const isRoot = process.geteuid!() === 0
    if (isRoot) chownSync(directory, 65_534, 65_534)
    // Who is not root cannot give anything away, but the root directory is not his.
    expect(() => open(isRoot ? directory : '/')).toThrow(/of the user who runs this \(uid \d+\): this one belongs to uid \d+/)
  })

  test('a file', () => {
    const path = join(temporary(), 'file')
    writeFileSync(path, '')
    expect(() => open(path)).toThrow(/EEXIST/)
  })

  test('one on a network', () => {
    const directory = temporary()
    const mounts = (point: string, type: string) => `26 1 254:0 / / rw - ext4 /dev/vda rw\n40 26 0:50 / ${point.replaceAll(' ', '\\040')} rw,relatime shared:1 - ${type} server:/export rw`
    for (const type of ['nfs', 'nfs4', 'cifs', '9p', 'virtiofs', 'fuse.sshfs', 'ceph', 'lustre']) {
      expect(networkTypeOf(directory, mounts(tmpdir(), type))).toBe(type)
      expect(networkTypeOf(directory, mounts(directory, type))).toBe(type)
      expect(networkTypeOf(directory, mounts(`${directory}-beside`, type))).toBe(undefined)
      expect(networkTypeOf(directory, `${mounts(tmpdir(), type)}\n41 40 0:51 / ${tmpdir()} rw - tmpfs tmpfs rw`)).toBe(undefined)
    }
    for (const type of ['ext4', 'xfs', 'btrfs', 'tmpfs', 'overlay', 'fuse.fuse-overlayfs', 'zfs']) {
      expect(networkTypeOf(directory, mounts(tmpdir(), type))).toBe(undefined)
    }
    expect(networkTypeOf(directory)).toBe(undefined)
  })

  test('without the package lmdb there is one sentence', async () => {
    const elsewhere = temporary()
    cpSync(fileURLToPath(new URL('../../dist', import.meta.url)), join(elsewhere, 'dist'), { recursive: true })
    writeFileSync(join(elsewhere, 'package.json'), '{"type":"module"}')
    const script = join(elsewhere, 'script.mjs')
    writeFileSync(script, `import { HostDriver } from './dist/drivers/host/host.js'\nexport const open = (directory) => void new HostDriver({ directory })`)
    const alone = await startProcess(script)
    await expect(alone.ask('open', temporary())).rejects.toThrow('The host tier needs the package "lmdb", with its binary for this platform: npm install lmdb')
    await alone.end()
  })
})

describe('processes', () => {
  test('a process reads what another has written, also after all have ended', async () => {
    const directory = temporary()
    const [one, two] = await startProcesses(2, WORKER, { args: [directory] })
    await one!.ask('set', 'key', 'text')
    expect(await two!.ask('get', 'key')).toBe('text')
    await Promise.all([one!.end(), two!.kill()])
    const driver = open(directory)
    expect(await driver.get('key')).toBe('text')
    await driver.disconnect()
  })

  test('who looks has been told everything that was acknowledged before', async () => {
    const directory = temporary()
    const [writer, reader] = await startProcesses(2, WORKER, { args: [directory] })
    await reader!.ask('look')
    for (const key of ['a', 'b', 'c']) await writer!.ask('set', key, 'text')
    await writer!.ask('remove', 'b')
    const { isKnown, events } = await reader!.ask('look')
    expect(isKnown).toBe(true)
    expect(events.map(({ kind, key }: any) => `${kind} ${key}`)).toEqual(['put a', 'put b', 'put c', 'deleted b'])
    expect(await reader!.ask('look')).toEqual({ isKnown: true, events: [] })
    await Promise.all([writer!.end(), reader!.end()])
  })

  test('who waits for a process that is killed goes on within 100 ms', async () => {
    const directory = temporary()
    const [leader, heir] = await startProcesses(2, WORKER, { args: [directory] })
    const { lease } = await leader!.ask('acquire', 'key')
    expect((await heir!.ask('acquire', 'key')).kind).toBe('held')
    const waiting = heir!.ask('wait', 'key', lease.term)
    await new Promise((resolve) => setTimeout(resolve, 100))
    const killedAt = Date.now()
    await leader!.kill()
    const { event, at } = await waiting
    expect(event).toMatchObject({ kind: 'again', term: lease.term })
    expect(at - killedAt).toBeLessThan(100)
    expect(await heir!.ask('acquire', 'key')).toMatchObject({ kind: 'granted', lease: { term: lease.term } })
    await heir!.end()
  })

  test('a stopped process keeps its lease until its time is over, and comes too late', async () => {
    const directory = temporary()
    const [leader, heir] = await startProcesses(2, WORKER, { args: [directory] })
    const { lease } = await leader!.ask('acquire', 'key', { ttlMs: 400 })
    leader!.stop()
    expect((await heir!.ask('acquire', 'key')).kind).toBe('held')
    let next: any
    await until(async () => (next = await heir!.ask('acquire', 'key')).kind === 'granted')
    expect(next.lease.term).toBe(lease.term)
    expect(await heir!.ask('fulfill', next.lease, 'heir')).toBe('stored')
    leader!.cont()
    expect(await leader!.ask('fulfill', lease, 'late')).toBe('refused')
    expect(await heir!.ask('get', 'key')).toBe('heir')
    await Promise.all([leader!.end(), heir!.end()])
  })

  test('a process that has no time to renew keeps its lease, four times as long; nobody computes beside it', async () => {
    const directory = temporary()
    const [leader, heir] = await startProcesses(2, WORKER, { args: [directory] })
    const { lease } = await leader!.ask('acquire', 'key', { ttlMs: 500 })
    const { lease: longer } = await leader!.ask('acquire', 'other', { ttlMs: 500 })
    const fulfilled = leader!.ask('blockAndFulfill', 1_200, lease, 'text')
    await sleep(800)
    expect((await heir!.ask('acquire', 'key')).kind).toBe('held')
    expect(await heir!.ask('wait', 'key', lease.term)).toMatchObject({ event: { kind: 'stored' } })
    expect(await fulfilled).toBe('stored')
    const refused = leader!.ask('blockAndFulfill', 2_500, longer, 'text')
    let next: any
    await until(async () => (next = await heir!.ask('acquire', 'other')).kind === 'granted')
    expect(next.lease.term).not.toBe(longer.term)
    expect(await refused).toBe('refused')
    await Promise.all([leader!.end(), heir!.end()])
  })

  test('a process that waits costs next to nothing, an idle one nothing, and it may end', async () => {
    const directory = temporary()
    const [leader, waiting] = await startProcesses(2, WORKER, { args: [directory] })
    const { lease } = await leader!.ask('acquire', 'key', { ttlMs: 60_000 })
    await waiting!.ask('acquire', 'key')
    const shares = []
    const controls = []
    for (let tries = 0; tries < 5; tries++) {
      controls.push((await waiting!.ask('ticks', 1_000)) / 1_000)
      const { event, cpuMs } = await waiting!.ask('wait', 'key', lease.term, 1_000)
      expect(event).toBe('timeout')
      shares.push(cpuMs / 1_000)
    }
    // CPU time of that process. Neighbours that keep caches cold can only add to it: the least is what it costs;
    // and where a timer of 20 ms that does nothing comes near the bar, the bar says nothing about us.
    expect(Math.min(...shares)).toBeLessThanOrEqual(Math.max(0.02, 1.5 * Math.min(...controls)))
    // One timer would be the question's own.
    expect(await waiting!.ask('resources', 1_500)).toEqual([])
    // V8 may tidy up once; what we had left running would wake it in each of these seconds.
    const wakeUps = []
    for (let second = 0; second < 3; second++) {
      const before = wakeUpsOf(waiting!.pid)
      await sleep(1_000)
      wakeUps.push(wakeUpsOf(waiting!.pid) - before)
    }
    expect(Math.min(...wakeUps)).toBe(0)
    expect(await waiting!.end()).toEqual({ code: 0, signal: null })
    await leader!.end()
  })

  test('a process that waits for another is not ended by having nothing else to do', async () => {
    const directory = temporary()
    const leader = await startProcess(WORKER, { args: [directory] })
    const { lease } = await leader.ask('acquire', 'key', { ttlMs: 60_000 })
    const script = join(temporary(), 'waits.mjs')
    const host = new URL('../../dist/drivers/host/host.js', import.meta.url)
    writeFileSync(
      script,
      `import { HostDriver } from ${JSON.stringify(host.href)}
       const driver = new HostDriver({ directory: ${JSON.stringify(directory)}, prefix: 'p' })
       await driver.lease.acquire('key', { attempt: 'a', ttlMs: 1000, seen: '' })
       export const letGo = () => void setTimeout(() => process.disconnect(), 50)
       const event = driver.lease.watch('key').next(${JSON.stringify(lease.term)}, 30_000)
       event.then(({ kind }) => console.log('heard', kind))`
    )
    const waiting = await startProcess(script)
    await waiting.ask('letGo')
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(waiting.isRunning).toBe(true)
    await leader.ask('fulfill', lease, 'text')
    expect(await waiting.exited).toEqual({ code: 0, signal: null })
    expect(waiting.output).toContain('heard stored')
    await leader.end()
  })

  test('a process that is stopped in the middle of a write holds up the others for 10 s, not for ever', async () => {
    const directory = temporary()
    const [stopped, other] = await startProcesses(2, WORKER, { args: [directory] })
    stopped!.ask('churn', 100).catch(() => {})
    let heldUpMs = 0
    for (let tries = 0; tries < 200 && heldUpMs < 1_000; tries++) {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
      stopped!.stop()
      const from = Date.now()
      await other!.ask('set', 'key', 'text')
      heldUpMs = Date.now() - from
      stopped!.cont()
    }
    expect(heldUpMs).toBeGreaterThan(9_000)
    expect(heldUpMs).toBeLessThan(20_000)
    expect((await other!.ask('logs')).join()).toContain('a write did not end')
    expect(await other!.ask('get', 'key')).toBe('text')
    await Promise.all([stopped!.kill(), other!.end()])
  })
})

describe('what is done to the files', () => {
  test('the directory is removed: misses, then a new map, and all meet in it', async () => {
    const directory = temporary()
    const [one, two] = await startProcesses(2, WORKER, { args: [directory] })
    await one!.ask('set', 'key', 'text')
    await two!.ask('look')
    rmSync(directory, { recursive: true })
    expect(await one!.ask('get', 'key')).toBe(undefined)
    await one!.ask('set', 'key', 'new')
    expect(await two!.ask('get', 'key')).toBe('new')
    expect((await two!.ask('look')).events).toContainEqual({ kind: 'gap', key: '', term: '', own: false })
    expect(await one!.ask('logs')).toContain('warn: host tier: the map is gone, starting anew')
    await Promise.all([one!.end(), two!.end()])
  })

  test('the directory cannot be made again: an outage, logged once, until it can', async () => {
    const directory = temporary()
    const one = await startProcess(WORKER, { args: [directory] })
    rmSync(directory, { recursive: true })
    writeFileSync(directory, '')
    expect(await one.ask('tryAll', 'key')).toEqual({ get: 'outage', set: 'outage', acquire: 'outage' })
    expect((await one.ask('look')).isKnown).toBe(false)
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(await one.ask('tryAll', 'key')).toEqual({ get: 'outage', set: 'outage', acquire: 'outage' })
    rmSync(directory)
    await until(async () => (await one.ask('tryAll', 'key')).set === true)
    const logs = await one.ask('logs')
    expect(logs.filter((line: string) => line === 'error: host tier: not available')).toHaveLength(1)
    expect(logs).toContain('info: host tier: available again')
    await one.end()
  })

  test('the map is cut while processes rest: misses, then a new map', async () => {
    for (const size of [0, 4_096, 100_000]) {
      const directory = temporary()
      const [one, two] = await startProcesses(2, WORKER, { args: [directory] })
      for (let i = 0; i < 50; i++) await one!.ask('set', `key${i}`, 'text'.repeat(1_000))
      truncateSync(liveMap(directory), size)
      expect(await one!.ask('get', 'key1')).toBe(undefined)
      expect(await two!.ask('set', 'key1', 'new')).toBe(true)
      expect(await one!.ask('get', 'key1')).toBe('new')
      expect(await one!.ask('logs')).toContain('warn: host tier: the map was cut, starting anew')
      await Promise.all([one!.end(), two!.end()])
    }
  })

  test('a map that is not whole, or not ours, is set aside, and kept', async () => {
    const texts: Record<string, (path: string) => void> = {
      cut: (path) => truncateSync(path, 200_000),
      emptied: (path) => truncateSync(path, 0),
      text: (path) => writeFileSync(path, 'something else\n'.repeat(10_000)),
      'its beginning overwritten': (path) => writeFileSync(path, Buffer.concat([Buffer.alloc(64, 7), readFileSync(path).subarray(64)])),
      'of another version': (path) => writeFileSync(path, readFileSync(path, 'latin1').replace('bentocache host map 1', 'bentocache host map 0'), 'latin1'),
    }
    for (const spoil of Object.values(texts)) {
      const directory = temporary()
      const before = await startProcess(WORKER, { args: [directory, '1mb'] })
      await before.ask('set', 'key', 'text')
      await before.end()
      spoil(liveMap(directory))
      const after = await startProcess(WORKER, { args: [directory, '1mb'] })
      expect(await after.ask('get', 'key')).toBe(undefined)
      await after.ask('set', 'key', 'new')
      expect(await after.ask('get', 'key')).toBe('new')
      expect(existsSync(join(directory, 'aside.mdb'))).toBe(true)
      expect((await after.ask('logs')).join()).toContain('the map is set aside')
      await after.end()
    }
  })

  test('another file in its place is set aside by a running process', async () => {
    const directory = temporary()
    const one = await startProcess(WORKER, { args: [directory] })
    await one.ask('set', 'key', 'text')
    writeFileSync(join(directory, 'other'), Buffer.alloc(100_000, 1))
    renameSync(join(directory, 'other'), liveMap(directory))
    expect(await one.ask('get', 'key')).toBe(undefined)
    expect(await one.ask('set', 'key', 'new')).toBe(true)
    expect(await one.ask('logs')).toContain('warn: host tier: the map was replaced, starting anew')
    await one.end()
  })

  test('what another start of the system has left is not read, and goes', async () => {
    const directory = temporary()
    const one = open(directory)
    await one.set('key', 'text')
    await one.disconnect()
    const live = liveMap(directory)
    const old = live.replace(/live-.*/, 'live-00000000-0000-4000-8000-000000000000.mdb')
    renameSync(live, old)
    for (const name of readdirSync(directory)) utimesSync(join(directory, name), 1_000_000, 1_000_000)
    const two = open(directory)
    expect(await two.get('key')).toBe(undefined)
    expect(existsSync(old)).toBe(false)
    expect(readdirSync(directory).filter((name) => name.startsWith('map-'))).toHaveLength(2) // the new one and its lock
    await two.disconnect()
  })

  test('a dozen processes that start at once meet in one map', async () => {
    const directory = temporary()
    const drivers = await startProcesses(12, WORKER, { args: [directory] })
    await Promise.all(drivers.map((one, i) => one.ask('set', `key${i}`, String(i))))
    for (const one of drivers) {
      expect(await Promise.all(drivers.map((_, i) => one.ask('get', `key${i}`)))).toEqual(drivers.map((_, i) => String(i)))
    }
    await Promise.all(drivers.map((one) => one.end()))
  })

  test('the disk is full: writes are refused, reads go on, and later writes too', async () => {
    const directory = temporary()
    const first = open(directory)
    await first.set('key', 'text')
    // A process that may not write behind the first 100 kB of a file has the same errors as on a full disk.
    const limited = join(temporary(), 'node')
    writeFileSync(limited, `#!/bin/sh\nulimit -f 200\nexec ${JSON.stringify(process.execPath)} "$@"\n`)
    chmodSync(limited, 0o755)
    const one = await startProcess(WORKER, { args: [directory], node: limited })
    expect(await one.ask('get', 'key')).toBe('text')
    const outcomes = []
    for (let i = 0; i < 20; i++) outcomes.push((await one.ask('tryAll', 'x'.repeat(1_000) + i)).set)
    for (let i = 0; i < 200; i++) await first.set(`filler${i}`, 'x'.repeat(4_000))
    for (let i = 0; i < 20; i++) outcomes.push((await one.ask('tryAll', `late${i}`)).set)
    const refusals = outcomes.filter((outcome) => outcome !== true)
    expect(refusals.length).toBeGreaterThan(0)
    for (const refusal of refusals) expect(refusal).toMatch(/^nothing can be written: /)
    expect(await one.ask('get', 'key')).toBe('text')
    expect(await one.end()).toEqual({ code: 0, signal: null })
    await first.disconnect()
  })
})

describe('whatever is done to the files, callers have their answers', () => {
  const mount = (directory: string) => spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', directory]).status === 0
  const unmount = (directory: string) => spawnSync('umount', ['-l', directory])
  const probe = temporary()
  const canMount = mount(probe)
  if (canMount) unmount(probe)

  // Who may not mount has the same errors in the test of a limited file size.
  test.runIf(canMount)('the disk is full, of a file system of 1 MB', async () => {
    const directory = temporary()
    expect(mount(directory)).toBe(true)
    try {
      const [one, two] = await startProcesses(2, CACHE, { args: [directory, '64mb'] })
      expect(await one!.ask('askFor', 50)).toBe(50)
      expect(await two!.ask('askFor', 50)).toBe(0)
      expect(() => writeFileSync(join(directory, 'something else'), Buffer.alloc(2_000_000))).toThrow(/ENOSPC/)
      expect(await one!.ask('askFor', 20, 50)).toBe(20)
      expect(await two!.ask('askFor', 20, 50)).toBe(20)
      expect(await one!.ask('logs')).toContain('error: an L2 operation failed')
      // Shorter writes still succeed: L2 must not come and go with the length of what is written.
      expect(await one!.ask('logs')).not.toContain('error: L2 is away: left alone until it answers again')
      // Nor can a new map be made.
      const three = await startProcess(CACHE, { args: [join(directory, 'another'), '64mb'] })
      expect(await three.ask('askFor', 10)).toBe(10)
      expect((await three.ask('logs')).join()).toContain('error: host tier: not available')

      rmSync(join(directory, 'something else'))
      let key = 100
      await until(async () => (await one!.ask('askFor', 1, ++key)) === 1 && (await two!.ask('askFor', 1, key)) === 0)
      const exits = await Promise.all([one!, two!, three].map((each) => each.end()))
      expect(exits).toEqual(exits.map(() => ({ code: 0, signal: null })))
    } finally {
      unmount(directory)
    }
  })

  test.each([
    ['the directory is removed', (directory: string) => rmSync(directory, { recursive: true }), 'the map is gone'],
    ['the map is removed', (directory: string) => rmSync(liveMap(directory)), 'the map is gone'],
    ['the map is cut', (directory: string) => truncateSync(liveMap(directory), 50_000), 'the map was cut'],
    ['the map is emptied', (directory: string) => truncateSync(liveMap(directory), 0), 'the map was cut'],
  ])('%s', async (_, harm, why) => {
    const directory = temporary()
    const [one, two] = await startProcesses(2, CACHE, { args: [directory, '16mb'] })
    expect(await one!.ask('askFor', 50)).toBe(50)
    expect(await two!.ask('askFor', 50)).toBe(0)
    harm(directory)
    expect(await one!.ask('askFor', 50)).toBe(50)
    expect(await two!.ask('askFor', 50)).toBe(0) // they have met again
    expect(await one!.ask('logs')).toContain(`warn: host tier: ${why}, starting anew`)
    expect((await two!.ask('logs')).join()).toMatch(/warn: host tier: the map .* starting anew/)
    expect(await Promise.all([one!.end(), two!.end()])).toEqual([{ code: 0, signal: null }, { code: 0, signal: null }])
  })
})

describe('bounds', () => {
  test('the file never grows beyond maxSize, what ends first goes first, marks of tags stay', async () => {
    const directory = temporary()
    const driver = open(directory, { maxSize: '4mb' })
    await driver.lease.mark(['___bc:t:tag'], (time) => `{"createdAt":${time}}`)
    for (let i = 0; i < 6_000; i++) {
      await driver.set(`long${i}`, 'x'.repeat(1_000), 3_600_000)
      if (i % 2 === 0) await driver.set(`short${i}`, 'x'.repeat(1_000), 60_000)
    }
    const { blocks, size } = statSync(liveMap(directory))
    expect(size).toBe(4 * 1_024 ** 2)
    expect(blocks * 512).toBeLessThanOrEqual(size)
    const kept = async (name: string) => (await driver.getMany(Array.from({ length: 6_000 }, (_, i) => `${name}${i}`))).filter(Boolean).length
    const [long, short] = [await kept('long'), await kept('short')]
    expect(long).toBeGreaterThan(500)
    expect(short / 3_000).toBeLessThan(long / 6_000)
    expect(await driver.get('___bc:t:tag')).toContain('createdAt')
    await driver.disconnect()
  })

  test('values of all sizes come and go, and the map is still of use', async () => {
    const directory = temporary()
    const driver = open(directory, { maxSize: '16mb' })
    for (let i = 0; i < 500; i++) await driver.set(`key${i % 100}`, 'x'.repeat(Math.floor(Math.random() ** 4 * 500_000)), 600_000)
    expect(statSync(liveMap(directory)).blocks * 512).toBeLessThanOrEqual(16 * 1_024 ** 2)
    await driver.set('last', 'text')
    expect(await driver.get('last')).toBe('text')
    await driver.disconnect()
  })

  test('a value that is too large for the map is refused, without an outage', async () => {
    const driver = open(temporary(), { maxSize: '1mb' })
    const refused = await driver.set('key', 'x'.repeat(100_000)).catch((error: unknown) => error)
    expect(String(refused)).toMatch(/a value of 100000 bytes is too large/)
    expect(driver.lease.isOutage(refused)).toBe(false)
    expect(await driver.set('key', 'small')).toBe(true)
    await driver.disconnect()
  })

  test('prune drops what has ended', async () => {
    const directory = temporary()
    const driver = open(directory)
    for (let i = 0; i < 1_200; i++) await driver.set(`key${i}`, 'text', i % 2 === 0 ? 20 : 60_000)
    await until(async () => (await driver.get('key1198')) === undefined)
    await driver.prune()
    expect((await driver.getMany(Array.from({ length: 1_200 }, (_, i) => `key${i}`))).filter(Boolean)).toHaveLength(600)
    await driver.disconnect()
  })

  test('who is further behind than the journals reach is told so', async () => {
    const directory = temporary()
    const [writer, reader] = [open(directory, { maxSize: '1mb' }), open(directory, { maxSize: '1mb' })]
    const events: string[] = []
    reader.lease.feed!.open({ store: 's', maxStalenessMs: 0, listener: { onEvent: ({ kind }) => events.push(kind), onVerified() {} } })
    expect(reader.lease.feed!.look(Date.now())).toBe(true)
    // A map of 1 MB keeps 64 pages; they are cut when somebody sweeps, once a second at most.
    for (const end = Date.now() + 2_500; Date.now() < end; ) await writer.set('key', 'text')
    reader.lease.feed!.look(Date.now())
    expect(events[0]).toBe('gap')
    await Promise.all([writer.disconnect(), reader.disconnect()])
  })
})

describe('costs', () => {
  test('a read of 1 kB from L2 takes 5 µs at most, in the median', async () => {
    const one = await startProcess(COST)
    expect(await one.ask('readMicros')).toBeLessThanOrEqual(5)
    await one.end()
  })

  test('an L1 hit takes 1.2 times as long as without the tier, at most', async () => {
    const one = await startProcess(COST)
    expect(await one.ask('hitRatio')).toBeLessThanOrEqual(1.2)
    await one.end()
  })
})

describe('processes come and go', () => {
  test('to open a map while others write to it does it no harm', async () => {
    const directory = temporary()
    const [one, two] = await startProcesses(2, WORKER, { args: [directory, '8mb'] })
    const [writing, writingToo] = [one!.ask('writeFor', 4_000), two!.ask('writeFor', 4_000)]
    const opener = await startProcess(WORKER, { args: [directory, '8mb'] })
    const opened = await opener.ask('openFor', 3_000)
    expect(opened).toBeGreaterThan(30)
    expect(await writing).toBeGreaterThan(100)
    expect(await writingToo).toBeGreaterThan(100)
    for (const writer of [one!, two!]) expect(await writer.ask('logs')).toEqual([])
    await Promise.all([one!, two!, opener].map((process) => process.end()))
  })

  test('the last one closes the map while another opens it: the next write is good', async () => {
    const directory = temporary()
    const all = await startProcesses(3, WORKER, { args: [directory, '8mb'] })
    await Promise.all(all.map((one) => one.ask('disconnect')))
    const opened = await Promise.all(all.map((one) => one.ask('openFor', 3_000, true)))
    expect(Math.min(...opened)).toBeGreaterThan(5)
    for (const one of all) expect(await one.ask('logs')).toEqual([])
    await Promise.all(all.map((one) => one.end()))
  })

  const KILLS = Number(process.env['HOST_KILLS'] ?? 1_000)

  test(`${KILLS} writers are killed: no text is torn, nobody is stuck, nothing acknowledged is lost, nothing grows`, async () => {
    const directory = temporary()
    const keys = 300
    const [reader, writer] = await startProcesses(2, WORKER, { args: [directory, '8mb'] })
    let kills = 0
    const killer = async () => {
      while (kills < KILLS) {
        kills++
        const victim = fork(CHURN, [directory, '8mb', String(keys)], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
        let said = ''
        victim.stderr!.on('data', (chunk) => (said += chunk))
        const exited = once(victim, 'exit')
        // Some while they start: to open the map is a moment like any other.
        if (kills % 4 === 0) await sleep(Math.random() * 400)
        else await Promise.race([once(victim, 'message'), exited])
        await sleep(Math.random() * 30)
        victim.kill('SIGKILL')
        const [, signal] = await exited
        if (signal !== 'SIGKILL') throw new Error(`a writer ended by itself: ${said}`)
      }
    }
    let isOver = false
    const killing = Promise.all([killer(), killer(), killer()]).finally(() => (isOver = true))
    killing.catch(() => {})
    let found = 0
    let slowest = 0
    let longest = 0
    while (!isOver) {
      const from = Date.now()
      await writer!.ask('set', 'alive', String(from))
      expect(await reader!.ask('get', 'alive')).toBe(String(from))
      found += await reader!.ask('checkWhole', keys, 50)
      slowest = Math.max(slowest, Date.now() - from)
      longest = Math.max(longest, statSync(liveMap(directory)).blocks * 512)
    }
    await killing
    expect(found).toBeGreaterThan(KILLS)
    expect(slowest).toBeLessThan(5_000)
    expect(longest).toBeLessThanOrEqual(8 * 1_024 ** 2)
    // The map is the one they began with.
    for (const survivor of [reader!, writer!]) expect(await survivor.ask('logs')).toEqual([])
    await Promise.all([reader!.end(), writer!.end()])
    const last = open(directory, { maxSize: '8mb' })
    expect(readdirSync(directory).filter((name) => /^(open|busy)-/.test(name))).toHaveLength(1)
    await last.disconnect()
  }, 60_000 + 1_000 * KILLS)
})
