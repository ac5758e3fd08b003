import { randomBytes } from 'node:crypto'
import { closeSync, linkSync, openSync, readSync, readdirSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../base/contract.js'
import { bootId } from './boot.js'
import { claimDirectory } from './directory.js'
import { HostMap, WrongFormat, lmdb } from './map.js'
import { HostTrouble, reasonOf } from './trouble.js'

export interface MapsOptions {
  directory: string
  maxSize: number
  log: Logger | undefined
}

/** A try to open costs some ms, and logs. */
const RETRY = 500
/** Files that nobody seems to use are left alone for so long: somebody may be about to. */
const YOUNG = 60_000
/** Stands at the end of the sparse file, so that one that was cut is never read: that would be a SIGBUS. */
const TRAILER = Buffer.from('bentocache host1')
/** Written out, because LMDB writes to it in memory, where a full disk is a SIGBUS: some 1000 readers. */
const LOCK_SIZE = 80 * 1_024
/** On Windows a file that is mapped cannot be cut, and one with holes would be filled. */
const IS_SPARSE = process.platform !== 'win32'

/**
 * The current map of a directory: whichever file the name `live` leads to. It can be removed, cut
 * or replaced at any time, so whoever looks asks here first, and whoever has written asks again.
 *
 * A map's own name, and with it LMDB's lock file, is never used for another: processes that lock
 * different files and write the same one would destroy it.
 */
export class Maps {
  readonly #o: MapsOptions
  readonly #boot = bootId()
  readonly #live: string
  #current: Open | undefined
  #checkedAt = 0
  #trouble: Error | undefined
  #retryAt = 0
  #isClosed = false

  /** @throws E_INVALID_OPTION when the directory is unfit */
  constructor(o: MapsOptions) {
    this.#o = o
    this.#live = join(o.directory, `live-${this.#boot ?? 'any'}.mdb`)
    lmdb()
    claimDirectory(o.directory)
    try {
      this.current()
    } catch {
      // Logged. It may work later, and until then there are misses.
    }
  }

  /** @throws HostTrouble when there is none for now */
  current(now = Date.now()): HostMap {
    const current = this.#current
    if (current !== undefined) {
      if (now === this.#checkedAt) return current.map
      const why = changeOf(current.file, identify(this.#live))
      if (why === undefined) {
        this.#checkedAt = now
        return current.map
      }
      this.#leave(why)
    }
    if (this.#isClosed) throw new HostTrouble('the driver is disconnected', true)
    if (now < this.#retryAt) throw this.#trouble!
    return this.#open(now)
  }

  /** Still the one that all others see? */
  isCurrent(map: HostMap): boolean {
    return this.#current?.map === map && changeOf(this.#current.file, identify(this.#live)) === undefined
  }

  /** Most bytes of the current map: whoever made it has said so. */
  get limit(): number {
    return IS_SPARSE ? (this.#current?.file.size ?? this.#o.maxSize) : this.#o.maxSize
  }

  /**
   * Synchronous reads of the current map.
   * @throws HostTrouble
   */
  read<T>(reads: (map: HostMap) => T): T {
    const map = this.current()
    try {
      return reads(map)
    } catch (error) {
      this.#discardIfBroken(map, error)
      throw error
    }
  }

  /**
   * Runs a step until it has an answer that counts. `undefined`: it lost a race, and looks again.
   * What was committed to a map that is not current any more is done again: nobody has seen it.
   */
  async step<T>(attempt: (map: HostMap) => Promise<T | undefined>): Promise<T> {
    for (;;) {
      const map = this.current()
      try {
        const answer = await attempt(map)
        if (answer !== undefined && this.isCurrent(map)) return answer
      } catch (error) {
        this.#discardIfBroken(map, error)
        if (this.isCurrent(map) || this.#isClosed) throw error
      }
    }
  }

  /** Everybody starts anew. `keep`: for whoever wants to know what was wrong with it. */
  discard(map: HostMap, why: string, keep: boolean): void {
    if (!this.isCurrent(map)) return
    this.#setAside(this.#current!.file, keep)
    this.#leave(why)
  }

  #discardIfBroken(map: HostMap, error: unknown): void {
    if (isAboutContent(error)) this.discard(map, `the map cannot be read: ${reasonOf(error)}`, true)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const current = this.#current
    this.#current = undefined
    await current?.map.close()
  }

  #leave(why: string): void {
    this.#o.log?.warn({ directory: this.#o.directory }, `host tier: ${why}, starting anew`)
    void this.#current?.map.close()
    this.#current = undefined
    this.#retryAt = 0
  }

  #open(now: number): HostMap {
    try {
      this.#current = this.#find()
    } catch (error) {
      const trouble = new HostTrouble(`no map can be opened in ${this.#o.directory}: ${reasonOf(error)}`, true, { cause: error })
      if (trouble.message !== this.#trouble?.message) this.#o.log?.error({ err: trouble }, 'host tier: not available')
      this.#trouble = trouble
      this.#retryAt = now + RETRY
      throw trouble
    }
    if (this.#trouble !== undefined) this.#o.log?.info({ directory: this.#o.directory }, 'host tier: available again')
    this.#trouble = undefined
    this.#checkedAt = now
    return this.#current.map
  }

  #find(): Open {
    claimDirectory(this.#o.directory)
    for (let tries = 0; tries < 20; tries++) {
      const live = identify(this.#live)
      const open = live === undefined ? this.#make() : this.#join(live)
      if (open === undefined) continue
      // Schedule: we find the name, another sets it aside and makes a new map, we open what was left.
      const { ino } = open.file
      if (identify(this.#live)?.ino === ino && identify(this.#own(open.file))?.ino === ino) {
        this.#tidy(open.file)
        return open
      }
      void open.map.close()
    }
    throw new HostTrouble('it is replaced again and again', true)
  }

  #join(file: File): Open | undefined {
    const own = this.#own(file)
    const why = isCut(this.#live, file) ? 'the map was cut, or is not ours' : identify(own)?.ino !== file.ino ? 'a name of the map is gone' : undefined
    if (why !== undefined) {
      this.#o.log?.warn({ directory: this.#o.directory }, `host tier: ${why}, it is set aside`)
      this.#setAside(file, true)
      return undefined
    }
    try {
      return { file, map: this.#openMap(own) }
    } catch (error) {
      if (!isAboutContent(error)) throw error
      this.#o.log?.warn({ err: error, directory: this.#o.directory }, 'host tier: the map cannot be read, it is set aside')
      this.#setAside(file, true)
      return undefined
    }
  }

  /** A new map under its own name, then under the one that all look for; undefined: another was faster. */
  #make(): Open | undefined {
    const born = join(this.#o.directory, `new-${randomBytes(8).toString('hex')}.mdb`)
    writeFileSync(born, '', { flag: 'wx', mode: 0o600 })
    const file = { ...identify(born)!, size: this.#o.maxSize }
    const own = this.#own(file)
    let map: HostMap | undefined
    try {
      writeFileSync(`${own}-lock`, Buffer.alloc(LOCK_SIZE), { mode: 0o600 })
      renameSync(born, own)
      map = this.#openMap(own)
      if (IS_SPARSE) writeTrailer(own, this.#o.maxSize)
      linkSync(own, this.#live)
      return { map, file: IS_SPARSE ? file : identify(own)! }
    } catch (error) {
      void map?.close()
      for (const path of [born, own, `${own}-lock`]) rmSync(path, { force: true })
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined
      throw error
    }
  }

  #openMap(file: string): HostMap {
    return new HostMap(file, { mapSize: this.#o.maxSize, isDurable: this.#boot === undefined })
  }

  #setAside(file: File, keep: boolean): void {
    if (identify(this.#live)?.ino !== file.ino) return
    try {
      if (keep) renameSync(this.#live, join(this.#o.directory, 'aside.mdb'))
      else rmSync(this.#live, { force: true })
      const own = this.#own(file)
      for (const path of [own, `${own}-lock`]) rmSync(path, { force: true })
    } catch {
      // Another process is doing it, or the directory is gone.
    }
  }

  /** What other boots, and processes that died while making a map, have left. */
  #tidy(live: File): void {
    const own = this.#own(live)
    for (const name of readdirSync(this.#o.directory)) {
      if (!/^(live|map|new)-[\w-]+\.mdb(-lock)?$/.test(name)) continue
      const path = join(this.#o.directory, name)
      if (path === this.#live || path === own || path === `${own}-lock`) continue
      const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: Infinity }
      if (Date.now() - mtimeMs > YOUNG) rmSync(path, { force: true })
    }
  }

  #own(file: File): string {
    return join(this.#o.directory, `map-${this.#boot ?? 'any'}-${file.ino}.mdb`)
  }
}

interface Open {
  map: HostMap
  file: File
}

interface File {
  ino: number
  size: number
}

function identify(path: string): File | undefined {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats && { ino: stats.ino, size: stats.size }
}

function changeOf(before: File, after: File | undefined): string | undefined {
  if (after === undefined) return 'the map is gone'
  if (after.ino !== before.ino) return 'the map was replaced'
  return after.size < before.size ? 'the map was cut' : undefined
}

function isCut(path: string, { size }: File): boolean {
  if (!IS_SPARSE) return false
  const fd = openSync(path, 'r')
  try {
    const end = Buffer.alloc(TRAILER.length)
    readSync(fd, end, 0, end.length, Math.max(0, size - end.length))
    return !end.equals(TRAILER)
  } finally {
    closeSync(fd)
  }
}

function writeTrailer(path: string, size: number): void {
  const fd = openSync(path, 'r+')
  try {
    writeSync(fd, TRAILER, 0, TRAILER.length, size - TRAILER.length)
  } finally {
    closeSync(fd)
  }
}

/** LMDB's own codes say that the file is not as it should be; the system's say that it is. */
function isAboutContent(error: unknown): boolean {
  if (error instanceof WrongFormat) return true
  const { code } = error as { code?: unknown }
  return typeof code === 'number' && code <= -30_784
}
