import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { basename } from 'node:path'
import type { Database, RootDatabase } from 'lmdb'
import { systemClock } from '../../base/clock.js'
import { LATE, ignore, within } from '../../base/promises.js'
import { decodePage, encodePage, pageKey } from './journal.js'
import type { Page, Told } from './journal.js'
import type { Range } from './names.js'
import { Writes, openBetweenWrites } from './opening.js'
import { decodeStored, encodeStored, textOf } from './records.js'
import type { Slot, Stored } from './records.js'
import { HostTrouble, reasonOf } from './trouble.js'

type Lmdb = typeof import('lmdb')
export type Texts = Database<string, Buffer>

/** What somebody found, and what a commit may ask to be still so. `undefined`: nothing there. */
export interface Guard {
  db: Texts
  name: Buffer
  version: number | undefined
}

export interface Commit {
  /** All must hold, or nothing is written. */
  guards?: readonly Guard[]
  /** Puts and removes; must not throw. */
  write?: () => void
  tell?: readonly Told[]
}

/** A record of `heads` by its first letter: `p` a process' last page, `f` the last page of it that is gone. */
export const headKey = (process: string): Buffer => Buffer.from(`p${process}`)
export const floorKey = (process: string): Buffer => Buffer.from(`f${process}`)
const HEADS: Range = { start: Buffer.from('p'), end: Buffer.from('q') }
/** Which page of which process was written last: all that an up-to-date reader has to look at. */
const STAMP = Buffer.from('stamp')
/** Changes when heads are dropped: nobody can tell any more what he has missed. */
const ERA = Buffer.from('era')
/** In seconds. LMDB lets one process write at a time; who is killed meanwhile lets go, who is stopped does not. */
const LONGEST_COMMIT = 10
const FORMAT = Buffer.from('format')
const OUR_FORMAT = '1'

/**
 * One LMDB environment: slots, values, journal, heads. The only compare-and-set points are the
 * versions of a key's slot and value, fresh random numbers at each change.
 */
export class HostMap {
  readonly slots: Texts
  readonly values: Texts
  readonly journal: Texts
  readonly heads: Texts
  /** Names our pages in this map. */
  readonly process = randomBytes(8).toString('hex')
  readonly #root: RootDatabase<string, Buffer>
  readonly #writes: Writes
  readonly #headKey = headKey(this.process)
  #pages = 0
  #isClosed = false

  /** @throws what LMDB throws when the file is not its own, and WrongFormat when it is not ours */
  constructor(file: string, o: { mapSize: number; isDurable: boolean; isShared: boolean }) {
    const openRoot = () =>
      lmdb().open<string, Buffer>({
        path: file,
        noSubdir: true,
        mapSize: o.mapSize,
        maxDbs: 4,
        maxReaders: 1_000,
        // What is committed is in the page cache, whoever dies; only a crash of the system loses it.
        noSync: !o.isDurable,
        keyEncoding: 'binary',
        encoding: 'string',
        // The block it opens by itself has a promise that nobody can catch when a commit fails.
        eventTurnBatching: false,
        ...({ permissionsMode: 0o600 } as object),
      })
    const { opened, wasAlone } = o.isShared ? openBetweenWrites(file, openRoot) : { opened: openRoot(), wasAlone: true }
    this.#root = opened
    const open = (name: string, useVersions: boolean) =>
      this.#root.openDB<string, Buffer>({ name, useVersions, keyEncoding: 'binary', encoding: 'string' })
    try {
      if (!wasAlone) throw new WrongFormat('somebody wrote to it while it was opened')
      this.slots = open('slots', true)
      this.values = open('values', true)
      this.journal = open('journal', false)
      this.heads = open('heads', true)
      const format = this.heads.get(FORMAT)
      if (format === undefined && isEmpty(this.heads)) this.heads.putSync(FORMAT, OUR_FORMAT, 1)
      else if (format !== OUR_FORMAT) throw new WrongFormat(`its format is ${format ?? 'unknown'}, not ${OUR_FORMAT}`)
      this.#writes = new Writes(file, this.process)
    } catch (error) {
      ignore(opened.close())
      throw error
    }
  }

  /**
   * Synchronous reads on one fresh snapshot, which is let go of at once: while somebody looks at
   * old pages, nobody may use them again.
   */
  look<T>(read: () => T): T {
    if (this.#isClosed) throw new HostTrouble('the map is closed', true)
    this.#root.resetReadTxn()
    try {
      return read()
    } finally {
      this.#root.resetReadTxn()
    }
  }

  /** What a plain read wants. */
  text(name: Buffer, now: number): string | undefined {
    return this.look(() => textOf(this.values.get(name), now))
  }

  /** Within `look`. */
  find(db: Texts, name: Buffer): { record: string | undefined; guard: Guard } {
    const record = db.get(name)
    return { record, guard: { db, name, version: record === undefined ? undefined : lmdb().getLastVersion() } }
  }

  /** Within `look`. Also what has ended, and is yet to be swept. */
  stored(name: Buffer): { stored: Stored | undefined; guard: Guard } {
    const { record, guard } = this.find(this.values, name)
    return { stored: record === undefined ? undefined : decodeStored(record), guard }
  }

  /** Within `look`. */
  slot(name: Buffer, now: number): { slot: Slot | undefined; guard: Guard } {
    const { record, guard } = this.find(this.slots, name)
    const slot: Slot | undefined = record === undefined ? undefined : JSON.parse(record)
    return { slot: slot !== undefined && now < slot.deadAt ? slot : undefined, guard }
  }

  /** Within a commit. */
  putSlot(name: Buffer, slot: Slot): void {
    void this.slots.put(name, JSON.stringify(slot), freshVersion())
  }

  /** Within a commit. */
  putStored(name: Buffer, stored: Stored): void {
    void this.values.put(name, encodeStored(stored), freshVersion())
  }

  /**
   * All or nothing, for all processes at once. Resolves false when a guard does not hold any more.
   * Never a transaction of our own: a process stopped inside one would stop the others' event loops.
   * @throws HostTrouble when it could not be written
   */
  async commit({ guards = [], write, tell = [] }: Commit): Promise<boolean> {
    if (this.#isClosed) throw new HostTrouble('the map is closed', true)
    await this.#writes.begin()
    try {
      return await this.#commit(guards, write, tell)
    } catch (error) {
      if (error instanceof Stuck || error instanceof HostTrouble) throw error
      const cause = await causeOf(error)
      throw new HostTrouble(`nothing can be written: ${reasonOf(cause)}`, !isFull(cause), { cause })
    } finally {
      this.#writes.end()
    }
  }

  /** Within `look`: changes with every page that is written. */
  stamp(): string | undefined {
    return this.heads.get(STAMP)
  }

  /** Within `look`. */
  era(): string {
    return this.heads.get(ERA) ?? ''
  }

  /** Within `look`: the last page of each process. */
  lastPages(): { process: string; n: number }[] {
    return Array.from(this.heads.getRange(HEADS), ({ key, value }) => ({ process: key.toString('latin1', 1), n: Number(value) }))
  }

  /** Within `look`: up to which page a process' journal has been cut off. */
  floor(process: string): number {
    return Number(this.heads.get(floorKey(process)) ?? 0)
  }

  /** Within `look`: pages `from` to `to`, both included, as far as they are there. */
  pages(process: string, from: number, to: number): Page[] {
    const range = { start: pageKey(process, from), end: pageKey(process, to + 1) }
    return Array.from(this.journal.getRange(range), ({ value }) => decodePage(value))
  }

  /** Within a commit that has dropped heads. */
  beginEra(): void {
    const era = randomBytes(8).toString('hex')
    void this.heads.put(ERA, era, freshVersion())
    void this.heads.put(STAMP, era, freshVersion())
  }

  /** In bytes: what lies in it, and how long the file has become. */
  size(): { used: number; file: number; page: number } {
    return this.look(() => {
      const stats = [this.values, this.journal, this.slots].map((db) => db.getStats() as Stats)
      const page = stats[0]!.pageSize
      const pages = stats.reduce((sum, one) => sum + one.treeBranchPageCount + one.treeLeafPageCount + one.overflowPages, 0)
      return { used: pages * page, file: (stats[0]!.lastPageNumber + 1) * page, page }
    })
  }

  /** Gives back what processes that were killed while reading still hold. */
  releaseReaders(): void {
    this.#root.readerCheck()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#writes.close(() => this.#root.close())
  }

  #commit(guards: readonly Guard[], write: (() => void) | undefined, tell: readonly Told[]): Promise<boolean> {
    if (this.#isClosed) throw new HostTrouble('the map is closed', true)
    const answers: Promise<boolean>[] = []
    const nest = (depth: number): void => {
      const guard = guards[depth]
      if (guard === undefined) {
        write?.()
        if (tell.length > 0) this.#tell(tell)
      } else if (guard.version === undefined) {
        answers.push(guard.db.ifNoExists(guard.name, () => nest(depth + 1)))
      } else {
        answers.push(guard.db.ifVersion(guard.name, guard.version, () => nest(depth + 1)))
      }
    }
    if (guards.length === 0) answers.push(this.#root.batch(() => nest(0)))
    else nest(0)
    return answered(Promise.all(answers).then((all) => all.every(Boolean)))
  }

  #tell(told: readonly Told[]): void {
    // Counted though the commit may fail: a number that is missing means nothing, one that is cut off does.
    const n = ++this.#pages
    void this.journal.put(pageKey(this.process, n), encodePage({ at: Date.now(), told }))
    void this.heads.put(this.#headKey, String(n), freshVersion())
    void this.heads.put(STAMP, `${this.process} ${n}`, freshVersion())
  }
}

/** The file is not what we write, or not of this version. */
export class WrongFormat extends Error {}

/** Nobody can write to this map, and nobody knows for how long. */
export class Stuck extends Error {}

interface Stats {
  pageSize: number
  treeBranchPageCount: number
  treeLeafPageCount: number
  overflowPages: number
  lastPageNumber: number
}

const require = createRequire(import.meta.url)
let loaded: Lmdb | undefined

/** @throws when the package is not there */
export function lmdb(): Lmdb {
  try {
    return (loaded ??= require('lmdb') as Lmdb)
  } catch (cause) {
    throw new Error('The host tier needs the package "lmdb", with its binary for this platform: npm install lmdb', { cause })
  }
}

/** Processes may share a map only when they agree on its format, and on what a lock in memory looks like. */
export function lmdbBuild(): string {
  const { version } = lmdb() as Lmdb & { version?: { major: number; minor: number; patch: number } }
  const binary = Object.keys(require.cache).find((path) => /lmdb.*\.node$/.test(path)) ?? ''
  const libc = /glibc|musl/.exec(basename(binary))?.[0] ?? process.platform
  return `lmdb ${version?.major}.${version?.minor}.${version?.patch} ${process.arch} ${libc}`
}

/** Never 0, which LMDB takes for no version. */
export function freshVersion(): number {
  return Math.floor(Math.random() * (Number.MAX_SAFE_INTEGER - 1)) + 1
}

function isEmpty(db: Texts): boolean {
  return db.getKeysCount({ start: Buffer.from([0]), limit: 1 }) === 0
}

/** Second by second: if it was us who were stopped, the answer may be there before we have looked. */
async function answered<T>(answer: Promise<T>): Promise<T> {
  for (let second = 0; second < LONGEST_COMMIT; second++) {
    const settled = await within(systemClock, answer, 1_000)
    if (settled !== LATE) return settled
  }
  throw new Stuck('a write did not end: some process was stopped in the middle of one')
}

/**
 * A smaller write may still find a place, and reads go on: no outage, or L2 would come and go with the
 * length of what is written. EIO (which LMDB says when a page was written in part), EFBIG, ENOSPC,
 * EDQUOT, MDB_MAP_FULL.
 */
const FULL = [5, 27, 28, 122, -30_792]

function isFull(cause: unknown): boolean {
  return FULL.includes((cause as { code?: number } | undefined)?.code ?? 0)
}

/** lmdb tells the reason by another promise, which nobody else awaits. */
async function causeOf(error: unknown): Promise<unknown> {
  const { commitError } = (error ?? {}) as { commitError?: Promise<never> }
  if (commitError === undefined) return error
  return commitError.catch((cause: unknown) => cause)
}
