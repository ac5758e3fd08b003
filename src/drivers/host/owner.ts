import { closeSync, openSync, readSync, readlinkSync } from 'node:fs'
import { threadId } from 'node:worker_threads'

/** Running or runnable; waiting for a disk. */
const BUSY = ['R', 'D']
/** A zombie, whose parent has not asked yet. */
const DEAD = ['Z', 'X']

const LINE = Buffer.alloc(1_024)
const OURS = pidNamespace()

/**
 * This thread, so that others can see whether its process still lives: PID namespace, pid, the
 * moment it started (a pid is used again), thread. Where the system tells less, less is written.
 */
export const owner: string = `${OURS}/${process.pid}/${startOf(process.pid) ?? ''}/${threadId}`

/**
 * For certain gone. false: it lives, or lives where we cannot look (another container). Not
 * `thoroughly` finds less, for a tenth of the price.
 */
export function isGone(other: string, thoroughly = true): boolean {
  if (other === owner) return false
  const now = Date.now()
  if (now !== askedAt) answers.clear()
  askedAt = now
  let gone = answers.get(other)
  if (gone === undefined) answers.set(other, (gone = look(other, thoroughly)))
  return gone
}

/** Many keys may have one owner. */
const answers = new Map<string, boolean>()
let askedAt = 0

/**
 * It computes, or waits for a CPU: late with its renewals, not lost. Whoever is idle and late has
 * forgotten, whoever was stopped may sleep for a day. false where the system does not say.
 */
export function isBusy(other: string): boolean {
  const [namespace, pid, start, thread] = other.split('/')
  // We are not busy, we ask. And of a process only the main thread is seen.
  if (other === owner || namespace !== OURS || thread !== '0') return false
  const seen = see(Number(pid))
  return seen !== undefined && seen.start === start && BUSY.includes(seen.state)
}

function look(other: string, thoroughly: boolean): boolean {
  const [namespace, pid, start] = other.split('/')
  if (namespace !== OURS) return false
  try {
    process.kill(Number(pid), 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
  // Also another process with its pid.
  return thoroughly && start !== '' && startOf(Number(pid)) !== start
}

/** undefined: it is dead, or nothing is said here. */
function startOf(pid: number): string | undefined {
  const seen = see(pid)
  return seen === undefined || DEAD.includes(seen.state) ? undefined : seen.start
}

/** `start`: clock ticks since boot. */
function see(pid: number): { state: string; start: string } | undefined {
  let fd: number | undefined
  try {
    // Less than half of what it costs to read it as any file, which may be long.
    fd = openSync(`/proc/${pid}/stat`, 'r')
    const text = LINE.toString('latin1', 0, readSync(fd, LINE))
    // The name, in brackets, may contain anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0]!, start: fields[19]! }
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
  } catch {
    return ''
  }
}
