import { sleep, systemClock } from '../../base/clock.js'
import type { Logger } from '../../base/contract.js'
import { ignore } from '../../base/promises.js'
import { pageKey, pageNumber, timeOfPage } from './journal.js'
import { floorKey, freshVersion, headKey } from './map.js'
import type { HostMap, Texts } from './map.js'
import type { Maps } from './maps.js'
import { isGone, owner } from './owner.js'
import { decodeStored } from './records.js'
import type { Slot } from './records.js'
import { HostTrouble, reasonOf } from './trouble.js'

/** Not more often than this, and only by processes that write. */
const PAUSE = 1_000
/** A sweeper that has not finished by then was stopped. */
const TURN = 2_000
/** Records looked at in one go, and most text of theirs: it holds up the event loop. */
const WINDOW = 500
const WINDOW_BYTES = 4 * 1_024 ** 2
/** Pages of a journal that are kept, and how long: whoever is further behind drops his L1. */
const PAGES = 10_000
const MINUTE = 60_000
/** Of a small map less: a page has some 200 bytes. */
const BYTES_PER_PAGE = 16_384
/** Heads of processes that told nothing for a minute; every reader looks at each of them. */
const IDLE_HEADS = 64

/** Parts of the limit: evict down to, evict above, refuse above; a file this long is replaced. */
const LOW = 0.6
const HIGH = 0.65
const FULL = 0.75
const LONGEST_FILE = 0.95
/** One value, at most. */
const LARGEST = 1 / 16
/** How long a size that was read may be relied on. */
const SIZE_LIFE = 10

const SWEEPER = Buffer.from('sweeper')

/** Where the last sweep left off, and who is at it. */
interface Turn {
  owner: string
  until: number
  /** The names that were looked at last, in hex; `''`: begin at the beginning. */
  slots: string
  values: string
}

interface Doomed {
  name: Buffer
  version: number
}

/**
 * Keeps a map within its limit: what has ended goes, then what would end first; journals are cut
 * off. Runs beside writes, in whichever process gets the turn. To remove a value is always allowed,
 * it is a cache's; to remove the mark of a tag is not.
 */
export class Sweeper {
  readonly #maps: Maps
  readonly #log: Logger | undefined
  #sweptAt = Date.now()
  #isSweeping = false
  /** How long the file was when this process looked last. */
  #length = 0
  /** Bytes that may be written without asking how full the map is. */
  #room: { map: HostMap; until: number; bytes: number } | undefined

  constructor(o: { maps: Maps; log: Logger | undefined }) {
    this.#maps = o.maps
    this.#log = o.log
  }

  /** Somebody has written: now and then somebody has to tidy up. */
  wrote(map: HostMap): void {
    if (this.#isSweeping || Date.now() - this.#sweptAt < PAUSE) return
    void this.#sweepQuietly(map)
  }

  /** @throws HostTrouble when the value cannot be taken */
  async makeRoom(map: HostMap, bytes: number): Promise<void> {
    const { limit } = this.#maps
    if (bytes > limit * LARGEST) {
      throw new HostTrouble(`a value of ${bytes} bytes is too large for a map of ${limit}`, false)
    }
    for (let tries = 0; tries < 20; tries++) {
      if (this.#takeRoom(map, bytes)) return
      if (!(await this.sweep(map))) await sleep(systemClock, 2 + Math.random() * 8)
    }
    throw new HostTrouble(`the map is full: maxSize is ${limit} bytes`, false)
  }

  /** false: another process is at it. */
  async sweep(map: HostMap): Promise<boolean> {
    const turn = await this.#takeTurn(map)
    if (turn === undefined) return false
    this.#room = undefined
    map.releaseReaders()
    this.#replaceIfTooLong(map, map.size().file)
    await this.#cutJournals(map)
    turn.slots = await this.#dropSlots(map, turn.slots)
    turn.values = await this.#dropValues(map, turn)
    await map.commit({ write: () => putTurn(map, { ...turn, until: 0 }) })
    return true
  }

  /** Everything that has ended. */
  async prune(map: HostMap): Promise<true> {
    let from = ''
    do {
      from = await this.#dropSome(map, from, 0)
    } while (from !== '')
    return true
  }

  async #sweepQuietly(map: HostMap): Promise<void> {
    this.#isSweeping = true
    try {
      await this.sweep(map)
    } catch (error) {
      if (this.#maps.isCurrent(map)) this.#log?.warn({ err: error }, `host tier: not swept: ${reasonOf(error)}`)
    }
    this.#isSweeping = false
    this.#sweptAt = Date.now()
  }

  #takeRoom(map: HostMap, bytes: number): boolean {
    const now = Date.now()
    if (this.#room === undefined || this.#room.map !== map || now >= this.#room.until || this.#room.bytes < bytes) {
      const { used, file } = map.size()
      this.#replaceIfTooLong(map, file)
      this.#stopGrowth(map, file)
      const left = this.#maps.limit * FULL - used
      if (left < bytes) return false
      // Others write as well.
      this.#room = { map, until: now + SIZE_LIFE, bytes: Math.max(bytes, left / 32) }
    }
    this.#room.bytes -= bytes
    return true
  }

  /**
   * Who was killed while he read holds on to the pages of that moment, and no page that is given up
   * since can be used again: in a second a map grows by thousands of them.
   */
  #stopGrowth(map: HostMap, file: number): void {
    if (file > this.#length) map.releaseReaders()
    this.#length = file
  }

  /** Holes that nothing fits in, or pages that a stopped process looks at: the file grows all the same. */
  #replaceIfTooLong(map: HostMap, file: number): void {
    if (file < this.#maps.limit * LONGEST_FILE) return
    this.#maps.discard(map, 'the map has reached its limit', false)
    throw new HostTrouble('the map has reached its limit', true)
  }

  async #takeTurn(map: HostMap): Promise<Turn | undefined> {
    const now = Date.now()
    const { record, guard } = map.look(() => map.find(map.heads, SWEEPER))
    const last: Turn = record === undefined ? { owner: '', until: 0, slots: '', values: '' } : JSON.parse(record)
    if (last.until > now && !isGone(last.owner)) return undefined
    const turn = { ...last, owner, until: now + TURN }
    return (await map.commit({ guards: [guard], write: () => putTurn(map, turn) })) ? turn : undefined
  }

  async #cutJournals(map: HostMap): Promise<void> {
    const kept = Math.min(PAGES, Math.floor(this.#maps.limit / BYTES_PER_PAGE))
    const idle: string[] = []
    for (const { process, n } of map.look(() => map.lastPages())) {
      const { floor, guard, cut } = map.look(() => {
        const { record, guard } = map.find(map.heads, floorKey(process))
        const floor = Number(record ?? 0)
        return { floor, guard, cut: oldPages(map, process, floor, n, kept) }
      })
      const last = cut.length === 0 ? floor : pageNumber(cut.at(-1)!)
      if (last >= n) idle.push(process)
      if (cut.length === 0) continue
      await map.commit({
        guards: [guard],
        write: () => {
          for (const key of cut) void map.journal.remove(key)
          void map.heads.put(floorKey(process), String(last), freshVersion())
        },
      })
    }
    if (idle.length <= IDLE_HEADS) return
    await map.commit({
      write: () => {
        for (const process of idle) for (const key of [headKey(process), floorKey(process)]) void map.heads.remove(key)
        map.beginEra()
      },
    })
  }

  async #dropSlots(map: HostMap, from: string): Promise<string> {
    const now = Date.now()
    const { records, next } = map.look(() => windowOf(map.slots, from))
    const dead = records.filter(({ text }) => (JSON.parse(text) as Slot).deadAt <= now)
    await drop(map, map.slots, dead)
    return next
  }

  async #dropValues(map: HostMap, turn: Turn): Promise<string> {
    const { limit } = this.#maps
    let from = turn.values
    do {
      const { used } = map.size()
      const surplus = used > limit * HIGH ? used - limit * LOW : 0
      from = await this.#dropSome(map, from, surplus)
      if (surplus === 0) break
    } while (Date.now() < turn.until - TURN / 2)
    return from
  }

  /** Looks at some values, and removes what has ended, and of the rest what ends first. */
  async #dropSome(map: HostMap, from: string, surplus: number): Promise<string> {
    const now = Date.now()
    const { records, next } = map.look(() => windowOf(map.values, from))
    const entries = records.map(({ name, version, text }) => {
      const { until, isMark } = decodeStored(text)
      return { name, version, until, isMark, size: text.length }
    })
    const doomed: Doomed[] = entries.filter(({ until }) => until <= now)
    const living = entries.filter(({ until, isMark }) => until > now && !isMark).sort((a, b) => a.until - b.until)
    const half = living.slice(0, Math.ceil(living.length / 2))
    for (let freed = 0; freed < surplus && half.length > 0; ) {
      const first = half.shift()!
      doomed.push(first)
      freed += first.size
    }
    await drop(map, map.values, doomed)
    return next
  }
}

/** From the oldest on: all but the last so many, and those older than a minute. */
function oldPages(map: HostMap, process: string, floor: number, n: number, kept: number): Buffer[] {
  const pages: Buffer[] = []
  const youngest = Date.now() - MINUTE
  const range = { start: pageKey(process, floor + 1), end: pageKey(process, n + 1), limit: PAGES }
  for (const { key, value } of map.journal.getRange(range)) {
    if (pageNumber(key) > n - kept && timeOfPage(value) > youngest) break
    pages.push(key)
  }
  return pages
}

/** Some records behind a name. `next`: the last of them; `''` when there are no more. */
function windowOf(db: Texts, from: string): { records: (Doomed & { text: string })[]; next: string } {
  const records: (Doomed & { text: string })[] = []
  let bytes = 0
  const range = from === '' ? {} : { start: Buffer.from(from, 'hex'), exclusiveStart: true }
  for (const { key, value, version } of db.getRange({ ...range, limit: WINDOW, versions: true })) {
    records.push({ name: key, version: version!, text: value })
    bytes += value.length
    if (bytes > WINDOW_BYTES) break
  }
  const isLast = records.length < WINDOW && bytes <= WINDOW_BYTES
  return { records, next: isLast ? '' : records.at(-1)!.name.toString('hex') }
}

/** Unless they have changed meanwhile. */
async function drop(map: HostMap, db: Texts, doomed: readonly Doomed[]): Promise<void> {
  if (doomed.length === 0) return
  await map.commit({ write: () => doomed.forEach(({ name, version }) => ignore(db.remove(name, version))) })
}

function putTurn(map: HostMap, turn: Turn): void {
  void map.heads.put(SWEEPER, JSON.stringify(turn), freshVersion())
}
