import { fork } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { sharesEveryOutcome, storesNothingOld, survivesItsLeaders } from '../support/fleet-suite.js'
import { History, endFleet, herd, runsOf, startFleet } from '../support/fleet.js'
import { startProcess } from '../support/process.js'
import type { Process } from '../support/process.js'

const directories: string[] = []
afterAll(() => directories.forEach((directory) => rmSync(directory, { recursive: true, force: true })))

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'bento-host-'))
  directories.push(directory)
  return directory
}

const suite = {
  config: () => ({ directory: temporary(), driver: { maxSize: '64mb' }, warmUp: 0 }),
  takeOverMs: 100,
  leaseMs: 3_000,
}

sharesEveryOutcome(suite)
survivesItsLeaders(suite)
storesNothingOld(suite, 300)

describe('a host', () => {
  let fleet: Process[] = []
  afterEach(() => endFleet(fleet))

  test('30 processes × 100 callers of one cold key: 1 run, everybody has the value', async () => {
    fleet = await startFleet(30, suite.config())
    const { runs, outcomes } = await herd(fleet, 'cold', 100)
    expect({ runs, outcomes }).toEqual({ runs: 1, outcomes: { cold: 3_000 } })
  })

  test('leaders are killed, 20 times under load: exactly 1 more run each, begun within 100 ms', async () => {
    const config = suite.config()
    fleet = await startFleet(5, config)
    const [one, two, busy, busier] = fleet
    const begun: number[] = []
    for (let round = 0; round < 20; round++) {
      const key = `orphan-${round}`
      const leader = fleet.at(-1)!
      for (const heir of [one!, two!]) await heir.ask('forgetRuns')
      const load = [busy!, busier!].map((other) => other.ask('steadyDemand', `busy-${round % 3}`, 300, 20, { ttl: 30 }, 5))
      await leader.ask('depart', key, 'never', 60_000)
      const started = [one!, two!].map((heir) => heir.ask('depart', key, 'by an heir', 50))
      await sleep(50)
      const killedAt = Date.now()
      process.kill(leader.pid, 'SIGKILL')
      await Promise.race(started)
      begun.push(Date.now() - killedAt)
      for (const heir of [one!, two!]) expect(await heir.ask('landing', key)).toBe('by an heir')
      expect(await runsOf([one!, two!])).toBe(1)
      for (const { answered, calls } of await Promise.all(load)) expect(answered).toBe(calls)
      await leader.exited
      fleet = [...fleet.slice(0, -1), ...(await startFleet(1, config))]
    }
    // Idle, the slowest takes 40 ms. On a machine that is busy with other things one of them may come late.
    expect(begun.sort((a, b) => a - b)[18]).toBeLessThanOrEqual(100)
    expect(begun.at(-1)).toBeLessThan(1_000)
  }, 300_000)

  test('threads, cluster workers, children and unrelated processes compute once between them', async () => {
    const script = fileURLToPath(new URL('../support/host-thread.mjs', import.meta.url))
    const data = { directory: temporary(), at: Date.now() + 3_000, callers: 50 }
    const args = [JSON.stringify(data)]
    const threads = [1, 2, 3].map(() => new Worker(script, { workerData: data }))
    cluster.setupPrimary({ exec: script, args })
    const workers = [1, 2].map(() => cluster.fork())
    const children = [1, 2].map(() => fork(script, args))
    const reports = await Promise.all([...threads, ...workers, ...children].map(async (one) => (await once(one, 'message'))[0]))
    expect(reports.reduce((sum, { runs }) => sum + runs, 0)).toBe(1)
    expect(reports.map(({ values }) => values)).toEqual(reports.map(() => 50))
    await Promise.all(threads.map((thread) => thread.terminate()))
  })
})

test('history: 6 processes, 20 s, with SIGSTOP and SIGKILL: no read is older than an acknowledged invalidation by more than 2 ms', async () => {
  const history = new History()
  const directory = temporary()
  const keys = 24
  const database = join(temporary(), 'database')
  writeFileSync(database, ' '.repeat(12 * keys))
  const start = async (i: number) => {
    const mine = Array.from({ length: keys }, (_, key) => key).filter((key) => key % 6 === i)
    const args = [JSON.stringify({ directory, database, keys, mine, file: history.file() })]
    const one = await startProcess(new URL('../support/host-history.mjs', import.meta.url), { args })
    await one.ask('warm')
    await one.ask('start')
    return one
  }
  const processes = await Promise.all([0, 1, 2, 3, 4, 5].map(start))
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    const i = Math.floor(Math.random() * 6)
    if (Math.random() < 0.15) {
      await processes[i]!.kill()
      processes[i] = await start(i)
    } else {
      processes[i]!.stop()
      await sleep(50 + Math.random() * 250)
      processes[i]!.cont()
    }
    await sleep(50)
  }
  await Promise.all(processes.map((one) => one.ask('stop')))
  await Promise.all(processes.map((one) => one.kill()))
  const judged = history.judge()
  expect(judged.errors).toBe(0)
  expect(judged.reads).toBeGreaterThan(5_000)
  expect(judged.acks).toBeGreaterThan(200)
  expect(judged.ofOwn, judged.worst).toBe(0)
  expect(judged.worstMs, judged.worst).toBeLessThanOrEqual(2)
  history.remove()
})
