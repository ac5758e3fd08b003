import { after } from '../base/clock.js'
import type { Clock } from '../base/contract.js'
import type { Entry } from '../base/entry.js'
import { scopeOf } from '../base/keys.js'
import { LATE } from '../base/promises.js'
import type { Late } from '../base/promises.js'

/** How a flight ends. It never throws. */
export type Landing =
  /** `tier`: where the entry came from; `factory`: it was computed (here or elsewhere). */
  | { kind: 'entry'; entry: Entry; from: 'l1' | 'l2' | 'factory'; trouble?: Error }
  /** The factory skipped. */
  | { kind: 'nothing' }
  /** `isEverybodys`: the second failure, or one that another process shared. */
  | { kind: 'failed'; error: Error; isEverybodys: boolean }

/** What the flight found in L2 before it computed: one read for all who wait. */
export interface Found {
  /** Judged: never one that a tag has invalidated. */
  entry: Entry | undefined
  trouble: Error | undefined
  /** The flight lands with it at once: nobody needs anything to fall back on. */
  isEnd: boolean
}

/** One computation of one key in this process. It departs, it lands; it is in nobody's request. */
export class Flight {
  readonly key: string
  readonly departedAt: number
  /** Started by `forceFresh`: looks nowhere first. */
  readonly isForced: boolean
  /** 1: a flight of this key has already failed and left its waiters a second chance. */
  readonly fails: 0 | 1
  readonly done: Promise<Landing>
  readonly found: Promise<Found>
  /** Invalidated meanwhile: takes no newcomers; without a lease its result is not stored. */
  isOutrun = false
  /** The term it waits or computes in. */
  term: string | undefined
  /** The factory runs. */
  isStarted = false
  /** Calls that joined it. */
  followers = 0
  /** Calls that wait for it now; a run that fails with none is a background failure. */
  waiting = 0
  /** Its latest line of followers without bounds. */
  line: unknown
  /** Somebody was answered without it and counts on its result. */
  isWanted = false
  /** An older flight of the key that still runs: too old for newcomers, but not invalidated. */
  replaces: Flight | undefined
  /** Flights that this one's factory waits for. */
  readonly waitsFor = new Set<Flight>()
  /** The flight whose factory made this one depart. */
  inside: Flight | undefined

  #arrive!: (found: Found) => void
  #land!: (landing: Landing) => void
  #landed: Landing | undefined
  #impatient: Set<(landing: Landing) => void> | undefined

  constructor(key: string, departedAt: number, isForced: boolean, fails: 0 | 1) {
    this.key = key
    this.departedAt = departedAt
    this.isForced = isForced
    this.fails = fails
    this.done = new Promise((resolve) => (this.#land = resolve))
    this.found = new Promise((resolve) => (this.#arrive = resolve))
  }

  arrive(found: Found): void {
    this.#arrive(found)
  }

  land(landing: Landing): void {
    this.#arrive({ entry: undefined, trouble: undefined, isEnd: false }) // in case it never looked
    this.#landed = landing
    this.inside = undefined
    this.#land(landing)
    for (const wake of this.#impatient ?? []) wake(landing)
    this.#impatient = undefined
  }

  /** The landing, or LATE after `ms`. A wait that is over leaves nothing behind, however long the flight. */
  within(clock: Clock, ms: number): Promise<Landing | Late> {
    if (ms === Infinity || this.#landed !== undefined) return this.done
    if (ms <= 0) return Promise.resolve(LATE)
    return new Promise((resolve) => {
      const waiting = (this.#impatient ??= new Set())
      const wake = (landing: Landing) => (stop(), resolve(landing))
      const stop = after(clock, ms, () => (waiting.delete(wake), resolve(LATE)))
      waiting.add(wake)
    })
  }

  /** Would waiting for `other` make this flight wait for itself? */
  isAwaitedBy(other: Flight): boolean {
    if (other === this) return true
    for (const next of other.waitsFor) if (this.isAwaitedBy(next)) return true
    return false
  }

  /** Is the key computed by this flight, or by one whose factory it departed in? */
  computes(key: string): boolean {
    if (this.key === key && this.#landed === undefined) return true
    return this.inside?.computes(key) ?? false
  }
}

/** In-process single flight: at most one flight per key takes newcomers. */
export class Flights {
  readonly #open = new Map<string, Flight>()

  get(key: string): Flight | undefined {
    return this.#open.get(key)
  }

  /**
   * Takes the place of an open flight of the key. A forced flight outruns it; one that departs
   * because the other is too old does not: what the old one computes may still be stored first.
   */
  depart(flight: Flight): void {
    if (flight.isForced) this.outrun(flight.key)
    flight.replaces = this.#open.get(flight.key)
    this.#open.set(flight.key, flight)
  }

  /** Removes the flight if it is still the open one of its key. */
  close(flight: Flight): void {
    if (this.#open.get(flight.key) === flight) this.#open.delete(flight.key)
  }

  /** Invalidated; what was stored in its own term is no news to a flight. */
  outrun(key: string, term?: string): void {
    const flight = this.#open.get(key)
    if (flight === undefined || (term !== undefined && flight.term === term)) return
    outrunFrom(flight)
    this.#open.delete(key)
  }

  /** The flight has stored its result: older ones of its key must not put theirs over it. */
  hasStored(flight: Flight): void {
    outrunFrom(flight.replaces)
    flight.replaces = undefined
  }

  /** Everything below a namespace path; `''` = everything. */
  outrunAll(path: string): void {
    const scope = scopeOf(path)
    for (const key of this.#open.keys()) {
      if (key.startsWith(scope)) this.outrun(key)
    }
  }
}

function outrunFrom(newest: Flight | undefined): void {
  for (let flight = newest; flight !== undefined; flight = flight.replaces) flight.isOutrun = true
}
