import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'

interface Row {
  mode: string
  processes: number
  requests: number
  failed: number
  queries: number
  ms: { p50: number; p99: number; max: number }
}

interface Result {
  clients: number
  queryMs: number
  modes: Row[]
}

const START = join(import.meta.dirname, '..', '..', 'scripts', 'start.mjs')
const SMALL = ['--clients', '200', '--instances', '3']

let redis: RedisServer
const running = new Set<ChildProcess>()
const directory = mkdtempSync(join(tmpdir(), 'bentocache-demo-test-'))

beforeAll(async () => {
  redis = await startRedis()
})

afterAll(async () => {
  for (const child of running) child.kill() // of a test that was given up
  await redis.stop()
  rmSync(directory, { recursive: true })
})

describe('npm start', () => {
  test('shows 200 / 1 / 3 / 1 queries for 200 clients on 3 processes, as exactly one JSON object', async () => {
    const { code, stdout, stderr } = await start([...SMALL, '--json', '--redis', redis.url])
    expect(code, stderr).toBe(0)
    expect(stdout.trim().split('\n')).toHaveLength(1)

    const { modes, ...scenario } = JSON.parse(stdout) as Result
    expect(scenario).toEqual({ clients: 200, queryMs: 50 })
    expect(modes.map(({ ms: _, ...row }) => row)).toEqual([
      { mode: 'unprotected', processes: 1, requests: 200, failed: 0, queries: 200 },
      { mode: 'process', processes: 1, requests: 200, failed: 0, queries: 1 },
      { mode: 'processes', processes: 3, requests: 200, failed: 0, queries: 3 },
      { mode: 'fleet', processes: 3, requests: 200, failed: 0, queries: 1 },
    ])
    for (const { ms } of modes) {
      expect(Object.keys(ms)).toEqual(['p50', 'p99', 'max'])
      expect(ms.p50).toBeGreaterThanOrEqual(50) // nobody is answered before the query ends
      expect(ms.p99).toBeGreaterThanOrEqual(ms.p50)
      expect(ms.max).toBeGreaterThanOrEqual(ms.p99)
    }
    expect(stderr).toContain('fleet: 1 query')
    expect(await redis.client().keys('*'), 'left behind in the Redis it was given').toEqual([])
  })

  test('needs nothing but npm: without --redis the fleet meets in the host tier', async () => {
    const { code, stdout, stderr } = await start([...SMALL, '--mode', 'fleet'])
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/fleet {2}3 processes, coordinated +1 /)
    expect(stdout).toContain('The fleet was coordinated by the host tier.')
  })

  test.each([
    ['Redis', () => ['--redis', redis.url]],
    ['the host tier', () => []],
  ])('over %s, a killed leader costs one more query and only the requests of its process', async (_tier, args) => {
    const { code, stdout, stderr } = await start([...SMALL, '--mode', 'fleet', '--kill-leader', '--json', ...args()])
    expect(code, stderr).toBe(0)
    const [fleet] = (JSON.parse(stdout) as Result).modes
    expect(fleet).toMatchObject({ mode: 'fleet', requests: 200, queries: 2 })
    expect(fleet!.failed).toBeGreaterThan(0)
    expect(fleet!.failed).toBeLessThan(150)
  })

  test('prints a table and draws a picture, with the modes in their order', async () => {
    const svg = join(directory, 'stampede.svg')
    const { code, stdout, stderr } = await start([...SMALL, '--mode', 'process,unprotected', '--svg', svg])
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/unprotected {2}1 process, no cache +200 .*\n +process +1 process, BentoCache +1 /)
    expect(stdout).toContain('Every mode kept its promise.')
    const picture = readFileSync(svg, 'utf8')
    expect(picture).toMatch(/^<svg [^]*unprotected 200, process 1[^]*<\/svg>\n$/)
    expect(picture).toContain('prefers-color-scheme: dark')
  })

  test('says in one sentence that the Redis it was given does not answer', async () => {
    const { code, stderr } = await start([...SMALL, '--mode', 'fleet', '--redis', 'redis://127.0.0.1:1'])
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'No Redis answers at redis://127.0.0.1:1.\n' })
  })

  test.each([
    [['--clients', 'many'], '--clients must be a whole number from 1 to 20000, not "many"'],
    [['--instances', '0'], '--instances must be a whole number from 1 to 200, not "0"'],
    [['--query-ms', '-1'], "Option '--query-ms' argument is ambiguous"],
    [['--mode', 'both'], '--mode must be one of unprotected, process, processes, fleet, not "both"'],
    [['--redis', 'localhost'], '--redis must be a URL such as redis://127.0.0.1:6379, not "localhost"'],
    [['--svg', join(directory, 'nowhere', 'x.svg')], '--svg must name a file in a directory that exists'],
    [['--kill-leader', '--mode', 'process'], '--kill-leader is about the mode fleet'],
    [['--fast'], "Unknown option '--fast'"],
    [['now'], "Unexpected argument 'now'"],
  ])('refuses %j with exit code 2 and says why', async (args, why) => {
    const { code, stdout, stderr } = await start(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(why)
    expect(stderr).not.toContain('    at ')
  })

  test('explains itself with --help', async () => {
    const { code, stdout } = await start(['--help'])
    expect(code).toBe(0)
    for (const option of ['clients', 'instances', 'query-ms', 'mode', 'redis', 'kill-leader', 'svg', 'json']) {
      expect(stdout).toContain(`--${option}`)
    }
  })
})

describe.runIf(existsSync('/bin/sh'))('with few files allowed', () => {
  test('npm start asks with fewer clients, and says so', async () => {
    const { code, stdout, stderr } = await start(['--mode', 'process', '--json'], 400)
    expect(code, stderr).toBe(0)
    expect(stderr).toContain('300 clients instead of 10,000: a process may hold only 300 connections open')
    expect((JSON.parse(stdout) as Result).modes).toMatchObject([{ requests: 300, failed: 0, queries: 1 }])
  })

  test('npm start refuses more clients than fit, with exit code 2', async () => {
    const { code, stderr } = await start(['--clients', '5000'], 400)
    expect(code).toBe(2)
    expect(stderr).toContain('--clients 5000 is too many here')
  })
})

/** Runs the script; `files` limits how many it and its children may open. */
function start(args: string[], files?: number): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = [process.execPath, START, ...args]
  const [program, ...rest] =
    files === undefined ? command : ['/bin/sh', '-c', `ulimit -n ${files} && exec "$@"`, 'sh', ...command]
  return new Promise((resolve, reject) => {
    const child = spawn(program!, rest, { stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.once('error', reject)
    child.once('close', (code) => {
      running.delete(child)
      resolve({ code, stdout, stderr })
    })
  })
}
