import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { pathToFileURL } from 'node:url'
import { afterAll } from 'vitest'

export interface ProcessOptions {
  /** Seen by the script as `process.argv.slice(2)`. */
  args?: string[]
  env?: Record<string, string>
  /** Such as `--expose-gc`. */
  execArgv?: string[]
  /** The program to run instead of this process's own Node. */
  node?: string
}

/** How a process ended. */
export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface Process {
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly isRunning: boolean
  /** All it wrote so far, to stdout and stderr. */
  readonly output: string
  /** Calls the function the script exports under that name; rejects with what it threw. */
  ask<T = any>(verb: string, ...args: unknown[]): Promise<T>
  /** SIGKILL, then waits for the end. */
  kill(): Promise<Exit>
  /** SIGSTOP: it freezes, its sockets and files stay open. */
  stop(): void
  /** SIGCONT. */
  cont(): void
  /** Closes the channel and lets it end by itself; SIGKILL after `ms`. */
  end(ms?: number): Promise<Exit>
}

/**
 * A real process that runs a script file of plain JavaScript: what the script exports can be asked
 * for. Killed when the test file ends, if it still runs.
 */
export async function startProcess(script: string | URL, o: ProcessOptions = {}): Promise<Process> {
  const url = script instanceof URL ? script : pathToFileURL(script)
  const flags = [...(o.execArgv ?? []), '--input-type=module', '--eval', ANSWERING]
  const child = spawn(o.node ?? process.execPath, [...flags, '--', url.href, ...(o.args ?? [])], {
    env: { ...process.env, ...o.env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    serialization: 'advanced', // undefined, dates and bytes arrive as they are
  })
  const started = wrap(child, url.pathname)
  running.add(started)
  void started.exited.then(() => running.delete(started))
  await started.ask('') // its modules are loaded
  return started
}

export function startProcesses(count: number, script: string | URL, o?: ProcessOptions): Promise<Process[]> {
  return Promise.all(Array.from({ length: count }, () => startProcess(script, o)))
}

/** Asks all of them, and all begin in the same millisecond. */
export function askTogether<T = any>(processes: readonly Process[], verb: string, ...args: unknown[]): Promise<T[]> {
  const at = Date.now() + 30 + 5 * processes.length
  return Promise.all(processes.map((one) => (one as Startable).askAt<T>(at, verb, args)))
}

interface Startable extends Process {
  askAt<T>(at: number, verb: string, args: unknown[]): Promise<T>
}

interface Question {
  resolve(value: any): void
  reject(error: Error): void
}

interface Reply {
  id: number
  value?: unknown
  error?: Thrown
}

/** What is left of an error on its way here: its name, message, stack, plain fields, and its cause. */
interface Thrown {
  message: string
  cause?: Thrown
}

function wrap(child: ChildProcess, script: string): Process {
  const questions = new Map<number, Question>()
  let lastId = 0
  let output = ''
  child.stdout!.on('data', (chunk) => (output += chunk))
  child.stderr!.on('data', (chunk) => (output += chunk))

  child.on('message', ({ id, value, error }: Reply) => {
    const question = questions.get(id)
    questions.delete(id)
    if (error === undefined) question?.resolve(value)
    else question?.reject(rebuild(error))
  })
  // Not 'close': after a disconnect it never comes. The streams' ends, so that a death is explained.
  const ends = [once(child, 'exit'), once(child.stdout!, 'close'), once(child.stderr!, 'close')]
  const exited = Promise.all(ends).then((): Exit => {
    const { exitCode: code, signalCode: signal } = child
    for (const { reject } of questions.values()) reject(new Error(`${script} ended (${code ?? signal}): ${output}`))
    questions.clear()
    return { code, signal }
  })

  const askAt = (at: number, verb: string, args: unknown[]) =>
    new Promise<any>((resolve, reject) => {
      const id = ++lastId
      questions.set(id, { resolve, reject })
      child.send({ id, at, verb, args }, (error) => {
        if (error !== null && questions.delete(id)) reject(new Error(`${script} cannot be asked: ${error.message}`))
      })
    })
  const started: Startable = {
    pid: child.pid!,
    exited,
    get isRunning() {
      return child.exitCode === null && child.signalCode === null
    },
    get output() {
      return output
    },
    ask: (verb, ...args) => askAt(0, verb, args),
    askAt,
    kill() {
      child.kill('SIGKILL')
      return exited
    },
    stop: () => void child.kill('SIGSTOP'),
    cont: () => void child.kill('SIGCONT'),
    async end(ms = 5_000) {
      if (child.connected) child.disconnect()
      const force = setTimeout(() => child.kill('SIGKILL'), ms)
      const exit = await exited
      clearTimeout(force)
      return exit
    },
  }
  return started
}

function rebuild({ cause, ...fields }: Thrown): Error {
  const error = cause === undefined ? new Error(fields.message) : new Error(fields.message, { cause: rebuild(cause) })
  return Object.assign(error, fields)
}

/** Runs in the child: imports the script, and answers with what its exports return. */
const ANSWERING = `
const script = import(process.argv[1])
const starting = (at) => new Promise((resolve) => {
  const spin = () => { while (Date.now() < at); resolve() }
  setTimeout(spin, Math.max(0, at - Date.now() - 3))
})
// A runner that is killed kills nobody any more.
const parent = process.ppid
process.on('disconnect', () => setTimeout(() => process.ppid !== parent && process.kill(process.pid, 'SIGKILL'), 100).unref())
process.on('message', async ({ id, at, verb, args }) => {
  try {
    const module = await script
    if (at) await starting(at)
    if (verb && typeof module[verb] !== 'function') throw new TypeError(process.argv[1] + ' exports no ' + verb)
    process.send({ id, value: verb ? await module[verb](...args) : null })
  } catch (error) {
    process.send({ id, error: describe(error) })
  }
})
const describe = (thrown) => {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  const plain = Object.entries(error).filter(([, value]) => value === null || !/object|function|symbol/.test(typeof value))
  const cause = error.cause === undefined ? {} : { cause: describe(error.cause) }
  return { ...Object.fromEntries(plain), name: error.name, message: error.message, stack: error.stack, ...cause }
}
`

const running = new Set<Process>()
const killAll = () => Promise.all([...running].map((one) => one.kill()))
process.once('exit', () => void killAll())

afterAll(killAll)
