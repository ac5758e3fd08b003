import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { askTogether, startProcesses } from './process.js'
import type { Process } from './process.js'

const WORKER = new URL('fleet-worker.mjs', import.meta.url)

/** Real processes with one cache each, connected and warm. */
export async function startFleet(count: number, config: Record<string, unknown>): Promise<Process[]> {
  const fleet = await startProcesses(count, WORKER, { args: [JSON.stringify(config)] })
  await Promise.all(fleet.map((one) => one.ask('warm')))
  return fleet
}

export async function endFleet(fleet: readonly Process[]): Promise<void> {
  await Promise.all(
    fleet.map(async (one) => {
      if (!one.isRunning) return
      await one.ask('disconnect').catch(() => {})
      await one.kill()
    })
  )
}

export interface Herd {
  runs: number
  outcomes: Record<string, number>
  /** Of the slowest caller, after the factory's last end. */
  behindMs: number
  tookMs: number
}

/** All callers of all processes at once, summed up. */
export async function herd(fleet: readonly Process[], key: string, callers: number, how = 'value', ms = 50): Promise<Herd> {
  const reports = await askTogether(fleet, 'herd', key, callers, how, ms)
  const outcomes: Record<string, number> = {}
  for (const report of reports) {
    for (const [outcome, times] of Object.entries<number>(report.outcomes)) outcomes[outcome] = (outcomes[outcome] ?? 0) + times
  }
  const last = Math.max(...reports.map((report) => report.endedAt))
  return {
    runs: reports.reduce((sum, report) => sum + report.runs, 0),
    outcomes,
    behindMs: last - Math.max(...reports.map((report) => report.factoryEndedAt)),
    tookMs: last - Math.min(...reports.map((report) => report.startedAt)),
  }
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}

export async function runsOf(fleet: readonly Process[]): Promise<number> {
  const runs = await Promise.all(fleet.map((one) => one.ask<number>('runsSoFar')))
  return runs.reduce((sum, each) => sum + each, 0)
}

interface Read {
  kind: 'read'
  pid: number
  key: string
  start: number
  version: number
}

interface Ack {
  kind: 'ack'
  pid: number
  key: string
  at: number
  version: number
  how: string
}

export interface Staleness {
  reads: number
  acks: number
  errors: number
  /** Reads older than what the same process had acknowledged. */
  ofOwn: number
  /** Ms by which the stalest read was behind an acknowledgement of any process. */
  worstMs: number
  /** For a person who must find out why. */
  worst: string
}

/** What processes wrote down, held against the rule: no read is older than what was acknowledged before it began. */
export class History {
  readonly #directory = mkdtempSync(join(tmpdir(), 'bentocache-history-'))
  #files = 0

  file(): string {
    return join(this.#directory, `${this.#files++}.jsonl`)
  }

  judge(): Staleness {
    const files = Array.from({ length: this.#files }, (_, i) => join(this.#directory, `${i}.jsonl`))
    const records: (Read | Ack | { kind: 'error' })[] = files.flatMap(readRecords)
    const acks = new Map<string, Ack[]>()
    for (const record of records) {
      if (record.kind === 'ack') acks.set(record.key, [...(acks.get(record.key) ?? []), record])
    }
    const reads = records.filter((record): record is Read => record.kind === 'read')
    const result: Staleness = { reads: reads.length, acks: 0, errors: 0, ofOwn: 0, worstMs: 0, worst: '' }
    for (const list of acks.values()) result.acks += list.length
    result.errors = records.filter(({ kind }) => kind === 'error').length
    for (const read of reads) {
      for (const ack of acks.get(read.key) ?? []) {
        if (ack.at >= read.start || read.version >= ack.version) continue
        if (ack.pid === read.pid) result.ofOwn++
        const behind = (read.start - ack.at) / 1_000
        if (behind > result.worstMs) {
          result.worstMs = behind
          result.worst = `${JSON.stringify(read)} after ${JSON.stringify(ack)}`
        }
      }
    }
    return result
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

function readRecords(file: string): any[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return []
  }
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line)]
    } catch {
      return [] // the last line of a process that was killed
    }
  })
}

/** Numbers that a seed repeats. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
