import { randomBytes } from 'node:crypto'
import { linkSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../base/clock.js'
import type { Logger } from '../../base/contract.js'
import { ignore, within } from '../../base/promises.js'
import { bootId } from './boot.js'
import { claimDirectory } from './directory.js'
import { HostMap, Stuck, WrongFormat, lmdbBuild } from './map.js'
import { IS_SPARSE, changeOf, checkOpenable, identify, isSealed, reserveLock, seal } from './map-file.js'
import type { MapFile } from './map-file.js'
import { beginOpening, isOldNote } from './opening.js'
import { HostTrouble, reasonOf } from './trouble.js'

export interface MapsOptions {
  directory: string
  maxSize: number
  log: Logger | undefined
}

interface Open {
  map: HostMap
  file: MapFile
}

/** How long, in ms, a map that was there is taken to be there: a check costs more than a read. */
const CHECK = 0.1
/** What is still being written may wait for a process that is stopped. */
const LONGEST_CLOSE = 1_000
/** A try to open costs some ms, and logs. */
const RETRY = 500
/** Files that nobody seems to use are left alone for so long: somebody may be about to. */
const YOUNG = 60_000

/**
 * The current map of a directory: whichever file the name `live` leads to. It can be removed, cut
 * or replaced at any time, so whoever looks asks here first, and whoever has written asks again.
 *
 * A map's own name, and with it that of LMDB's lock file, is never used for another: processes that
 * lock different files and write to the same one would destroy it.
 */
export class Maps {
  readonly #o: MapsOptions
  /** Without a name for this start of the system nobody could tell what a crash of it has lost. */
  readonly #boot = bootId()
  readonly #maker = `bentocache host map 1, ${lmdbBuild()}`
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
    claimDirectory(o.directory)
    try {
      this.current()
    } catch {
      // Logged. It may work later, and until then there are misses.
    }
  }

  /** @throws HostTrouble when there is none for now */
  current(): HostMap {
    const now = performance.now()
    const current = this.#current
    if (current !== undefined) {
      if (now - this.#checkedAt < CHECK) return current.map
      const why = changeOf(current.file, identify(this.#live))
      this.#checkedAt = now
      if (why === undefined) return current.map
      this.#leave(why)
    }
    if (this.#isClosed) throw new HostTrouble('the driver is disconnected', true)
    if (this.#trouble !== undefined && now < this.#retryAt) throw this.#trouble
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

  async close(): Promise<void> {
    this.#isClosed = true
    const current = this.#current
    this.#current = undefined
    if (current !== undefined) await within(systemClock, current.map.close(), LONGEST_CLOSE)
  }

  #discardIfBroken(map: HostMap, error: unknown): void {
    if (error instanceof Stuck) this.discard(map, error.message, false)
    else if (isAboutContent(error)) this.discard(map, `the map cannot be read: ${reasonOf(error)}`, true)
  }

  #leave(why: string): void {
    this.#o.log?.warn({ directory: this.#o.directory }, `host tier: ${why}, starting anew`)
    if (this.#current !== undefined) ignore(this.#current.map.close())
    this.#current = undefined
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
      ignore(open.map.close())
    }
    throw new Error('it is replaced again and again')
  }

  #join(file: MapFile): Open | undefined {
    const own = this.#own(file)
    let endOpening = () => {}
    try {
      if (identify(own)?.ino !== file.ino) throw new WrongFormat('one of its names is gone')
      if (!isSealed(own, this.#maker)) throw new WrongFormat('it was cut, or is not of this version')
      endOpening = beginOpening(own)
      return { file, map: this.#openMap(own, true) }
    } catch (error) {
      // Schedule: we find it, another sets it aside, and we miss one of its names.
      if (identify(this.#live)?.ino !== file.ino) return undefined
      if (!isAboutContent(error)) throw error
      this.#o.log?.warn({ err: error, directory: this.#o.directory }, `host tier: the map is set aside: ${reasonOf(error)}`)
      this.#setAside(file, true)
      return undefined
    } finally {
      endOpening()
    }
  }

  /** A new map under its own name, then under the one that all look for; undefined: another was faster. */
  #make(): Open | undefined {
    const born = join(this.#o.directory, `new-${randomBytes(8).toString('hex')}.mdb`)
    writeFileSync(born, '', { flag: 'wx', mode: 0o600 })
    const own = this.#own(identify(born)!)
    let map: HostMap | undefined
    try {
      reserveLock(`${own}-lock`)
      renameSync(born, own)
      map = this.#openMap(own, false)
      seal(own, this.#o.maxSize, this.#maker)
      linkSync(own, this.#live)
      return { map, file: identify(own)! }
    } catch (error) {
      if (map !== undefined) ignore(map.close())
      for (const path of [born, own, `${own}-lock`]) rmSync(path, { force: true })
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined
      throw error
    }
  }

  #openMap(path: string, isShared: boolean): HostMap {
    checkOpenable(path)
    return new HostMap(path, { mapSize: this.#o.maxSize, isDurable: this.#boot === undefined, isShared })
  }

  #setAside(file: MapFile, keep: boolean): void {
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

  /** What other starts of the system, and processes that died while making a map, have left. */
  #tidy(live: MapFile): void {
    const own = this.#own(live)
    for (const name of readdirSync(this.#o.directory)) {
      const path = join(this.#o.directory, name)
      if (isOldNote(name, own)) rmSync(path, { force: true })
      if (!/^(live|map|new)-[\w-]+\.mdb(-lock)?$/.test(name)) continue
      if (path === this.#live || path === own || path === `${own}-lock`) continue
      const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: Infinity }
      if (Date.now() - mtimeMs > YOUNG) rmSync(path, { force: true })
    }
  }

  #own(file: MapFile): string {
    return join(this.#o.directory, `map-${this.#boot ?? 'any'}-${file.ino}.mdb`)
  }
}

/** LMDB's own codes say that the file is not as it should be; the system's say that it is. */
function isAboutContent(error: unknown): boolean {
  if (error instanceof WrongFormat || error instanceof SyntaxError) return true
  const { code } = ((error instanceof HostTrouble ? error.cause : error) ?? {}) as { code?: unknown }
  return typeof code === 'number' && LMDB_BROKEN.includes(code)
}

/**
 * MDB_PAGE_NOTFOUND, MDB_CORRUPTED, MDB_PANIC, MDB_VERSION_MISMATCH, MDB_INVALID, MDB_INCOMPATIBLE,
 * MDB_BAD_TXN, MDB_PROBLEM; and EINVAL, a lock that is none any more. Schedule: the last process
 * that has the map closes it, and destroys its locks; another, which is opening it, finds them so.
 */
const LMDB_BROKEN = [-30_797, -30_796, -30_795, -30_794, -30_793, -30_784, -30_782, -30_779, 22]
