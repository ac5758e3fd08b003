import { after, systemClock } from '../base/clock.js'
import { Codec } from '../base/entry.js'
import type { Entry } from '../base/entry.js'
import { E_FACTORY_HARD_TIMEOUT, E_LOCK_TIMEOUT, E_RECURSIVE_CALL } from '../base/errors.js'
import { LATE, within } from '../base/promises.js'
import type { Settings } from '../base/settings.js'
import { Flight } from '../flight/flights.js'
import type { Found, Landing } from '../flight/flights.js'
import { patience } from '../flight/patience.js'
import type { Patience } from '../flight/patience.js'
import { load } from './load.js'
import { isServable, localCopy, serveHit } from './lookup.js'
import { boundOf, isStrict } from './store.js'
import type { Call, Store, View } from './store.js'
import { judge, learnNews, wasInvalidatedBefore } from './tags.js'

/**
 * A miss, told from top to bottom. Nobody runs the factory inside their own request: a flight
 * runs, and every caller, its leader included, waits for it with its own patience.
 */
export async function getOrSet(store: Store, call: Call, fails: 0 | 1 = 0): Promise<unknown> {
  for (;;) {
    const kept = call.isForced ? undefined : localCopy(store, call)
    const copy = kept instanceof Promise ? await kept : kept
    if (copy !== undefined && isServable(store, call, copy)) return serveHit(store, call, copy, 'l1')

    const joined = join(store, call)
    // Forced, or after a delete of its own key, a factory that needs itself would run over and over.
    if (joined === undefined && call.inside?.computes(call.key)) return reject(store, call, new E_RECURSIVE_CALL(call.name))
    const flight = joined ?? depart(store, call, copy, fails)

    const { fallback, tier, found } = await fallbackOf(store, call, flight, copy)
    if (found?.trouble !== undefined && fallback === undefined && isStrict(store, call.settings)) {
      return reject(store, call, found.trouble)
    }
    const bound = patience(call.settings, fallback !== undefined, joined === undefined)
    if (isWaitingForItself(call, flight)) {
      if (fallback !== undefined) return serveStale(store, call, fallback, tier)
      return reject(store, call, new E_RECURSIVE_CALL(call.name))
    }
    const landing = await waitFor(store, call, flight, bound)
    if (landing === LATE) return late(store, call, flight, bound, fallback, copy === undefined ? tier : 'l1')

    const isOurs = joined === undefined
    const asking = doubts(store, call, landing)
    if (asking !== undefined) await asking
    const answer = settle(store, call, landing, isOurs)
    if (answer !== AGAIN) return answer
    if (landing.kind === 'failed') {
      if (fallback !== undefined) return serveStale(store, call, fallback, tier)
      if (isOurs || landing.isEverybodys) return reject(store, call, landing.error)
      // The first failure was its leader's own: everybody left tries once more, and one of them leads.
      fails = 1
    }
  }
}

/**
 * The cheapest wait, for followers of one flight that nothing distinguishes and that have nothing
 * to fall back on: a caller costs no more than a turn in a counter. Where values are handed out by
 * reference they even share one promise; copies are each caller's own.
 *
 * If the flight has no value for them, the first of them speaks for all: its factory is the second chance.
 */
export class Line {
  readonly #store: Store
  readonly #flight: Flight
  readonly #call: Call
  /** What `takes` compares is not read from the call: calls are of a shape that does not stay. */
  readonly #settings: Settings
  readonly #path: string
  readonly #tagPosition: number
  /** Itself, once the flight has landed: what its followers do then need not be made anew for each flight. */
  readonly #landed: Promise<Line>
  /**
   * Epoch ms from which it takes nobody. Where nothing has to be verified a timer says so, because to
   * ask the clock would be a third of what following costs.
   */
  #until: number
  #landing!: Landing
  #joined = 0
  #shared: Promise<unknown> | undefined = undefined

  constructor(store: Store, flight: Flight, call: Call) {
    this.#store = store
    this.#flight = flight
    this.#call = call
    this.#settings = call.settings
    this.#path = call.view.path
    this.#tagPosition = call.tagPosition
    const { clock, verifiedUntil } = store
    const oldAt = oldFrom(store, flight, call.settings)
    this.#until = verifiedUntil === Infinity ? Infinity : oldAt
    const stopAgeing = after(clock, oldAt - clock.now(), () => (this.#until = 0))
    this.#landed = flight.done.then((landing) => {
      stopAgeing()
      this.#landing = landing
      return this
    })
  }

  /** May a call with these join, or does it have to begin a line of its own? `now`: 0 = nothing has to be verified. */
  takes(view: View, settings: Settings, now: number): boolean {
    return (
      settings === this.#settings &&
      now < this.#until &&
      this.#tagPosition === this.#store.tagMarks.position &&
      view.path === this.#path &&
      hasNoFallback(this.#store, this.#flight, settings)
    )
  }

  join(): Promise<unknown> {
    const { codec, observer } = this.#store
    observer.stats.waiters++
    this.#flight.followers++
    this.#flight.waiting++
    this.#joined++
    if (!codec.byReference) return this.#landed.then(Line.#serveOne)
    return (this.#shared ??= this.#landed.then(Line.#serveAll))
  }

  static readonly #serveOne = (line: Line): unknown => {
    line.#flight.waiting--
    return line.#serve()
  }

  static readonly #serveAll = async (line: Line): Promise<unknown> => {
    const { stats } = line.#store.observer
    const landing = line.#landing
    const others = line.#joined - 1
    line.#flight.waiting -= line.#joined
    try {
      const value = await line.#serve()
      stats[landing.kind === 'nothing' ? 'misses' : landing.kind === 'entry' && landing.from !== 'factory' ? 'hits' : 'coalesced'] += others
      return value
    } catch (error) {
      stats.errors += others
      throw error
    }
  }

  #serve(): unknown {
    const store = this.#store
    const landing = this.#landing
    if (landing.kind === 'entry' && landing.from === 'factory' && landing.trouble === undefined && landing.entry.tags.length === 0) {
      store.observer.stats.coalesced++
      return store.codec.open(landing.entry)
    }
    const asking = doubts(store, this.#call, landing)
    return asking === undefined ? follow(store, this.#call, landing) : asking.then(() => follow(store, this.#call, landing))
  }

  /**
   * One of each object that waiting touches, for ever. With the last object of a shape V8 discards,
   * at a full collection, the code that was compiled for it: the stampede after a quiet hour would
   * begin with compiling everything anew (bench/findings.md).
   */
  static readonly shapes: unknown = Line.#shapes()

  static #shapes(): unknown[] {
    const flight = new Flight('', 0, false, 0)
    flight.line = new Line({ clock: systemClock, maxL1Staleness: Infinity } as Store, flight, { view: {}, settings: { lockAge: Infinity } } as Call)
    const codec = new Codec()
    flight.land({ kind: 'entry', entry: codec.entryOf('', '', 0, 0, []), from: 'factory' })
    return [flight, ...[[], ['']].map((tags) => JSON.parse(codec.encode(null, 1e12, 1e12, tags)))]
  }
}

function follow(store: Store, call: Call, landing: Landing): unknown {
  const answer = settle(store, call, landing, false)
  if (answer !== AGAIN) return answer
  if (landing.kind === 'failed' && landing.isEverybodys) return reject(store, call, landing.error)
  return getOrSet(store, call, landing.kind === 'failed' ? 1 : 0)
}

/** May this flight be followed by a call that nothing distinguishes from its leader's? */
export function canFollow(store: Store, flight: Flight, settings: Settings): boolean {
  const { lockTimeout, hardTimeout } = settings
  const isUnbounded = lockTimeout === Infinity && hardTimeout === Infinity
  return isUnbounded && !isStrict(store, settings) && hasNoFallback(store, flight, settings) && store.clock.now() < oldFrom(store, flight, settings)
}

function hasNoFallback(store: Store, flight: Flight, { grace }: Settings): boolean {
  return grace === 0 || (store.remote === undefined && store.local?.read(flight.key) === undefined)
}

/** Epoch ms from which a flight takes no newcomers as a matter of course. */
function oldFrom({ maxL1Staleness }: Store, { departedAt }: Flight, { lockAge }: Settings): number {
  return departedAt + Math.min(lockAge, maxL1Staleness)
}

const AGAIN = Symbol('again')

/** What must be asked before a landing can be judged; mostly nothing. */
function doubts(store: Store, { view, settings, tagPosition }: Call, landing: Landing): Promise<void> | undefined {
  return landing.kind === 'entry' ? learnNews(store, view, landing.entry, tagPosition, boundOf(settings, false)) : undefined
}

/** What a landing is to one caller; AGAIN when it has to decide about a failure, or to fly once more. */
function settle(store: Store, call: Call, landing: Landing, isLeading: boolean): unknown {
  if (landing.kind === 'failed') return AGAIN
  if (landing.kind === 'nothing') {
    store.observer.miss(call.name, call.trace)
    return undefined
  }
  // A tag was invalidated before this call began, but after the flight did: not for this caller.
  if (wasInvalidatedBefore(store, call.view, landing.entry, call.tagPosition)) return AGAIN
  if (landing.trouble !== undefined && isStrict(store, call.settings)) return reject(store, call, landing.trouble)
  return serveLanding(store, call, landing, isLeading)
}

/** The open flight of the key, if it may take this call. */
function join(store: Store, call: Call): Flight | undefined {
  const flight = store.flights.get(call.key)
  if (flight === undefined) return undefined
  const now = store.clock.now()
  const age = now - flight.departedAt
  if (age >= call.settings.lockAge) return undefined
  // A forced call wants data that is younger than itself.
  if (call.isForced && !(flight.isForced && !flight.isStarted)) return undefined
  // Without news from the others, an older flight may have been invalidated unheard.
  if (age >= store.maxL1Staleness && now >= store.verifiedUntil && !store.look(now)) return undefined
  flight.followers++
  store.observer.stats.waiters++
  return flight
}

/** Starts a flight, in the same tick in which none was found. */
function depart(store: Store, call: Call, copy: Entry | undefined, fails: 0 | 1): Flight {
  const flight = new Flight(call.key, store.clock.now(), call.isForced, fails)
  flight.inside = call.inside
  store.flights.depart(flight)
  void load(store, flight, call, copy).then((landing) => {
    store.flights.close(flight)
    flight.land(landing)
    if (flight.followers > 0) store.observer.stampedePrevented(call.name, flight.followers)
  })
  return flight
}

/**
 * What this caller may be served instead of waiting. L2 is asked first, within its bound: its
 * stale value is younger news than L1's. Without grace nothing may be, and nothing is awaited.
 */
async function fallbackOf(store: Store, call: Call, flight: Flight, copy: Entry | undefined) {
  const { grace, l2TimeoutWithCopy, hardTimeout } = call.settings
  const none = { fallback: undefined, tier: 'l1' as const, found: undefined }
  if (store.remote === undefined) {
    return grace > 0 && copy !== undefined ? { ...none, fallback: copy } : none
  }
  const mayServe = grace > 0 && !call.isForced
  if (!mayServe && !isStrict(store, call.settings)) return none
  const wait = copy === undefined ? hardTimeout : l2TimeoutWithCopy
  const found: Found | typeof LATE = await within(store.clock, flight.found, wait)
  if (found === LATE) return { ...none, fallback: mayServe ? copy : undefined }
  const isGone = copy !== undefined && !copy.isConfirmed && found.trouble === undefined && found.entry === undefined
  if (!mayServe || found.isEnd) return { ...none, found }
  if (found.entry !== undefined) {
    // The flight may have found it before one of its tags was invalidated; this call came after.
    const isServed = (await judge(store, call.view, found.entry, boundOf(call.settings, true))) === 'clear'
    return isServed ? { fallback: found.entry, tier: 'l2' as const, found } : { ...none, found }
  }
  return { ...none, fallback: isGone ? undefined : copy, found }
}

/** Would this wait never end, because the flight waits for the one whose factory is calling? */
function isWaitingForItself(call: Call, flight: Flight): boolean {
  return call.inside !== undefined && call.inside.isAwaitedBy(flight)
}

async function waitFor(store: Store, call: Call, flight: Flight, bound: Patience): Promise<Landing | typeof LATE> {
  const left = bound.ms === Infinity ? Infinity : bound.ms - (store.clock.now() - call.startedAt)
  if (left <= 0) return LATE
  flight.waiting++
  call.inside?.waitsFor.add(flight)
  try {
    return await flight.within(store.clock, left)
  } finally {
    call.inside?.waitsFor.delete(flight)
    flight.waiting--
  }
}

/** The wait is over, the flight is not: it goes on, and its result is stored. */
function late(store: Store, call: Call, flight: Flight, bound: Patience, fallback: Entry | undefined, tier: 'l1' | 'l2'): unknown {
  if (!flight.isWanted) outlive(store, flight)
  if (fallback !== undefined) return serveStale(store, call, fallback, tier)
  return reject(store, call, bound.then === 'lock' ? new E_LOCK_TIMEOUT(call.name) : new E_FACTORY_HARD_TIMEOUT(call.name))
}

/** The platform is told once: a hung refresh may be read past a million times. */
function outlive(store: Store, flight: Flight): void {
  flight.isWanted = true
  try {
    store.waitUntil?.(flight.done)
  } catch (error) {
    store.observer.trouble('waitUntil threw', error)
  }
}

function serveLanding(store: Store, call: Call, landing: Landing & { kind: 'entry' }, isLeading: boolean): unknown {
  const { entry, from } = landing
  if (from !== 'factory') return serveHit(store, call, entry, from)
  const value = store.codec.open(entry)
  if (isLeading) store.observer.miss(call.name, call.trace)
  else store.observer.coalesced(call.name, value, store.local === undefined ? 'l2' : 'l1', call.trace)
  return value
}

function serveStale(store: Store, call: Call, entry: Entry, tier: 'l1' | 'l2'): unknown {
  const value = store.codec.open(entry)
  store.observer.hit(call.name, value, tier, true, call.trace)
  return value
}

function reject(store: Store, call: Call, error: Error): never {
  store.observer.readFailed(call.name, true)
  throw error
}

