import { after, sleep } from '../base/clock.js'
import type { Acquired, Clock, Ending, FeedEvent, Lease, LeaseCapability, SharedError, Watch } from '../base/contract.js'
import type { Stats } from '../base/stats.js'
import type { Flight } from './flights.js'
import type { Pending } from './pending.js'

/** Among processes, whose turn it is to compute a key. */
export type Turn =
  /** Ours: compute. Without a lease: on our own, because nobody can be asked. */
  | { kind: 'ours'; grant: Grant | undefined; trigger: 'miss' | 'takeover' | 'degraded' }
  /** Theirs, and this is what they had. `heldAt`: coordinator's time at which we asked. */
  | { kind: 'theirs'; ending: Stored | Exclude<Ending, { kind: 'abandoned' }>; heldAt: number }
  /** Nobody waits for this refresh and another process computes: leave it to that one. */
  | { kind: 'leave'; ms: number }
  /** Something changed: look in L2 again. */
  | { kind: 'look' }

export interface Stored {
  kind: 'stored'
  text: string
}

export interface Grant {
  lease: Lease
  /** Coordinator's time at which the computation may be said to have begun. */
  createdAt: number
  fails: 0 | 1
}

/** What one flight knows while it takes its turns. */
export interface Asking {
  flight: Flight
  watch: Watch
  pending: Pending
  /** The text that was read, `undefined` = a miss. */
  seen: string | undefined
  /** `createdAt` of what is computed must be above this tag mark. */
  floor: number
  /** Calls of this flight have no stale value: a remembered failure does not concern them. */
  ignoresFailure: boolean
  /** How long to wait for a coordinator that has just gone. */
  lossGrace: number
  /** The term the flight was last held in. */
  heldIn?: string
  /** What was seen when the answer was 'changed', and how many times in a row. */
  changed?: { seen: string | undefined; times: number }
}

export interface LeasesOptions {
  capability: LeaseCapability
  clock: Clock
  ttl: number
  stats: Stats
  /** Runs a coordinator operation: bounded, errors as answers. */
  ask: <T>(operation: () => Promise<T>) => Promise<T | Error>
  /** Local epoch ms since which the coordinator is known to be away. */
  downSince: () => number | undefined
  warn: (message: string, error: unknown) => void
  lockAge: number
}

/** So many misses in a row, something being there each time when we asked for the turn. */
const MOST_MISSES = 10

/** How late the bus message of a delete may come after the delete. */
const JUST_STORED = 2_000

/**
 * Distributed single flight: at most one attempt of a key among the processes, what it computed is
 * everybody's who waited, and an invalidation in between fences it. The protocol is described in
 * docs/guide/fleet.md; this is its client side, whatever the coordinator is.
 */
export class Leases {
  readonly #o: LeasesOptions
  readonly #process = randomId()
  #attempts = 0
  /** What this process computes under a lease, to be renewed. */
  readonly #held = new Map<string, { lease: Lease; flight: Flight }>()
  readonly #stored = new Map<string, number>()
  #stopRenewing: (() => void) | undefined
  #isClosed = false
  readonly #warned = new Set<string>()

  constructor(options: LeasesOptions) {
    this.#o = options
  }

  /** Begins to listen; do it before reading, or the event that matters may be missed. */
  watch(key: string): Watch {
    return this.#o.capability.watch(key)
  }

  /** Asks for the turn, and if another process has it, waits for what it had. */
  async takeTurn(asking: Asking): Promise<Turn> {
    const { flight } = asking
    const acquired = await this.#acquire(asking)
    if (acquired === undefined) return { kind: 'ours', grant: undefined, trigger: 'degraded' }

    switch (acquired.kind) {
      case 'granted': {
        const { lease, createdAt, fails } = acquired
        flight.term = asking.pending.term = lease.term
        this.#hold(lease, flight)
        const isHeir = !lease.term.startsWith(`${lease.attempt}@`) && fails === 0
        if (isHeir) this.#o.stats.takeovers++
        return { kind: 'ours', grant: { lease, createdAt, fails }, trigger: isHeir ? 'takeover' : 'miss' }
      }
      case 'changed':
        return isHopeless(asking) ? { kind: 'ours', grant: undefined, trigger: 'degraded' } : { kind: 'look' }
      case 'held':
        asking.heldIn = flight.term = asking.pending.term = acquired.term
        if (flight.waiting === 0) return { kind: 'leave', ms: acquired.leftMs }
        return this.#wait(asking, acquired)
      case 'ended':
        if (acquired.ending.kind === 'abandoned') return { kind: 'look' }
        return { kind: 'theirs', ending: acquired.ending, heldAt: 0 }
      case 'failed':
        return { kind: 'theirs', ending: { kind: 'failed', error: acquired.error }, heldAt: 0 }
    }
  }

  /** Resolves when an heir of our term was faster; never otherwise. */
  async heir(asking: Asking, lease: Lease, isOver: () => boolean): Promise<(Turn & { kind: 'theirs' }) | { kind: 'look' }> {
    for (;;) {
      const event = await asking.watch.next(lease.term, 60_000)
      if (isOver()) return new Promise(() => {})
      if (event === 'timeout' || event.own || event.term !== lease.term) continue
      const ending = endingOf(event)
      if (ending !== undefined && ending.kind !== 'failed') return { kind: 'theirs', ending, heldAt: 0 }
      if (event.kind === 'stored') return { kind: 'look' }
    }
  }

  /** Stores under the lease; an Error when the coordinator did not take it. */
  async fulfill(lease: Lease, text: string, keepMs: number): Promise<'stored' | 'refused' | 'foreign' | Error> {
    const keep = keepMs === Infinity ? null : keepMs
    const answer = await this.#o.ask(() => this.#o.capability.fulfill(lease, text, { keepMs: keep }))
    if (answer === 'stored') this.#remember(lease.key)
    else this.#o.stats.refusedWrites++
    // Whoever was held in our term learns what we had; what is stored is not touched.
    if (answer === 'refused') await this.#settle(lease, { kind: 'value', text })
    else if (answer instanceof Error) void this.#settle(lease, { kind: 'abandoned' })
    this.#held.delete(lease.attempt)
    return answer
  }

  /** Ends the attempt without storing. 'again': those who waited race once more. */
  async settle(lease: Lease, ending: Ending, o: { followers?: boolean; backoffMs?: number } = {}): Promise<'again' | 'ended' | 'lost'> {
    this.#held.delete(lease.attempt)
    const answer = await this.#settle(lease, ending, o)
    return answer instanceof Error ? 'lost' : answer
  }

  /** An heir was faster: nothing to renew any more. */
  forget(lease: Lease): void {
    this.#held.delete(lease.attempt)
  }

  /** Lets go of everything this process holds, in 1 s at most. Takes no turns afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#stopRenewing?.()
    const settled = [...this.#held.values()].map(({ lease }) => this.settle(lease, { kind: 'abandoned' }))
    await Promise.race([Promise.all(settled), sleep(this.#o.clock, 1_000)])
  }

  /**
   * Is the key computed here, or was it just stored? An invalidation by a process that knows no
   * leases has not revoked this one: it has to be sent again with one that does.
   */
  concerns(key: string): boolean {
    const storedAt = this.#stored.get(key)
    if (storedAt !== undefined && this.#o.clock.now() - storedAt < JUST_STORED) return true
    for (const { lease } of this.#held.values()) if (lease.key === key) return true
    return false
  }

  /** The same for all keys that begin with `scope`. */
  concernedBelow(scope: string): string[] {
    const keys = [...this.#stored.keys(), ...Array.from(this.#held.values(), ({ lease }) => lease.key)]
    return [...new Set(keys)].filter((key) => key.startsWith(scope) && this.concerns(key))
  }

  #remember(key: string): void {
    this.#stored.delete(key)
    this.#stored.set(key, this.#o.clock.now())
    if (this.#stored.size > 1_000) this.#stored.delete(this.#stored.keys().next().value!)
  }

  /** undefined: nobody can be asked, compute alone. */
  async #acquire(asking: Asking): Promise<Acquired | undefined> {
    const { capability, clock, ask, downSince } = this.#o
    // One name for all tries of this turn: if a reply is lost, the retry is answered the same.
    const attempt = `${this.#process}:${this.#attempts++}`
    while (!this.#isClosed) {
      const acquired = await ask(() =>
        capability.acquire(asking.flight.key, {
          attempt,
          ttlMs: this.#o.ttl,
          seen: capability.fingerprint(asking.seen),
          force: asking.flight.isForced,
          ignoreFailure: asking.ignoresFailure,
          floor: asking.floor,
          ...(asking.heldIn !== undefined && { heldIn: asking.heldIn }),
        })
      )
      if (!(acquired instanceof Error)) return acquired
      const since = downSince()
      if (since === undefined) {
        this.#warnOnce(acquired)
        return undefined
      }
      // An outage that has just begun may be a reconnection: worth a moment, not more.
      if (clock.now() >= since + asking.lossGrace) return undefined
      await sleep(clock, 25 + Math.random() * 50)
    }
    return undefined
  }

  async #wait(asking: Asking, held: { term: string; leftMs: number; at: number }): Promise<Turn> {
    const { clock } = this.#o
    const until = clock.now() + held.leftMs
    for (;;) {
      const event = await asking.watch.next(held.term, Math.max(1, until - clock.now()))
      if (event === 'timeout' || event.kind === 'gap') return { kind: 'look' }
      if (event.term === held.term) {
        const ending = endingOf(event)
        if (ending !== undefined) return { kind: 'theirs', ending, heldAt: held.at }
        return { kind: 'look' }
      }
      // Another term's end: ours is over, and what is stored is newer.
      if (event.kind === 'stored') return { kind: 'look' }
      // An invalidation: the flight takes no newcomers any more, those who wait get what their term had.
    }
  }

  #hold(lease: Lease, flight: Flight): void {
    this.#held.set(lease.attempt, { lease, flight })
    this.#stopRenewing ??= after(this.#o.clock, this.#o.ttl / 3, () => void this.#renew())
  }

  async #renew(): Promise<void> {
    const { capability, clock, ask, ttl, lockAge, stats } = this.#o
    const held = [...this.#held.values()]
    const leases = held.map(({ lease, flight }) => ({ lease, hold: clock.now() - flight.departedAt < lockAge }))
    const alive = held.length === 0 ? [] : await ask(() => capability.renew(leases, ttl))
    if (!(alive instanceof Error)) {
      held.forEach(({ lease, flight }, i) => {
        if (alive[i] !== false || !this.#held.delete(lease.attempt)) return
        flight.isOutrun = true
        stats.leasesLost++
      })
    }
    this.#stopRenewing = undefined
    if (this.#held.size > 0 && !this.#isClosed) {
      this.#stopRenewing = after(clock, ttl / 3, () => void this.#renew())
    }
  }

  #settle(lease: Lease, ending: Ending, o: { followers?: boolean; backoffMs?: number } = {}) {
    const options = { followers: o.followers ?? false, backoffMs: o.backoffMs ?? 0 }
    return this.#o.ask(() => this.#o.capability.settle(lease, ending, options))
  }

  #warnOnce(error: Error): void {
    const cause = error.cause instanceof Error ? error.cause : error
    const kind = cause.message.split(' ')[0]!
    if (this.#warned.has(kind)) return
    this.#warned.add(kind)
    this.#o.warn('no lease can be taken here: each process computes on its own', cause)
  }
}

/**
 * A text that is 'changed' although it is what we read again cannot be told by its fingerprint: no
 * text, but bytes. A miss can: others store and delete between our reads, which ends some time.
 */
function isHopeless(asking: Asking): boolean {
  const { seen, changed } = asking
  const times = changed !== undefined && changed.seen === seen ? changed.times + 1 : 1
  asking.changed = { seen, times }
  return times === (seen === undefined ? MOST_MISSES : 2)
}

/** A failure of this process as others may see it: name, code, and 200 bytes of message. */
export function shareError(cause: unknown): SharedError {
  const { name, message, code } = (cause ?? {}) as { name?: unknown; message?: unknown; code?: unknown }
  const text = cause instanceof Error ? String(message) : String(cause)
  return {
    name: typeof name === 'string' && cause instanceof Error ? name.slice(0, 60) : 'Error',
    message: cut(text, 200),
    ...(code !== undefined && { code: String(code).slice(0, 60) }),
  }
}

/** A failure of another process, rebuilt. */
export function rebuildError(shared: SharedError): Error {
  const error = new Error(shared.message)
  error.name = shared.name
  return shared.code === undefined ? error : Object.assign(error, { code: shared.code })
}

/** What an event says about the end of its term; undefined: it must be looked up. */
function endingOf(event: FeedEvent): Stored | Exclude<Ending, { kind: 'abandoned' }> | undefined {
  if (event.kind === 'stored' && event.text !== undefined) return { kind: 'stored', text: event.text }
  if (event.kind === 'value' && event.text !== undefined) return { kind: 'value', text: event.text }
  if (event.kind === 'nothing') return { kind: 'nothing' }
  if (event.kind === 'failed' && event.error !== undefined) return { kind: 'failed', error: event.error }
  return undefined
}

function cut(text: string, bytes: number): string {
  const encoded = new TextEncoder().encode(text)
  return encoded.length <= bytes ? text : new TextDecoder().decode(encoded.subarray(0, bytes)).replace(/\uFFFD+$/, '')
}

function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => (byte % 36).toString(36)).join('')
}
