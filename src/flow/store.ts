import type { Clock } from '../base/contract.js'
import type { Codec } from '../base/entry.js'
import type { E_FACTORY_ERROR } from '../base/errors.js'
import { under } from '../base/keys.js'
import type { GetSetFactory } from '../base/options.js'
import type { Settings } from '../base/settings.js'
import type { Bus } from '../bus/bus.js'
import type { Flight, Flights } from '../flight/flights.js'
import type { Leases } from '../flight/lease.js'
import type { PendingKeys } from '../flight/pending.js'
import type { Recursion } from '../flight/recursion.js'
import type { Observer, ReadTrace } from '../observe/observer.js'
import type { Local } from '../tier/local.js'
import type { Bound, Remote } from '../tier/remote.js'
import type { TagMarks } from '../tier/tag-marks.js'

/** All that a flow may touch; one per named store, shared by its namespaces. No methods. */
export interface Store {
  readonly name: string
  /** What bus messages and traces call the root; may differ from the drivers' own prefix. */
  readonly prefix: string
  readonly clock: Clock
  readonly codec: Codec
  readonly observer: Observer
  readonly flights: Flights
  readonly pending: PendingKeys
  readonly recursion: Recursion
  readonly tagMarks: TagMarks
  readonly local: Local | undefined
  readonly remote: Remote | undefined
  readonly leases: Leases | undefined
  readonly bus: Bus | undefined
  /** How long a coordinator that has just gone is waited for. */
  readonly lossGrace: number
  /** An unconfirmed copy may be served when L2 cannot be asked. */
  readonly servesUnverified: boolean
  /** How long an open flight may be joined while the feed vouches for nothing; Infinity without a feed. */
  readonly maxL1Staleness: number
  readonly waitUntil: ((work: Promise<unknown>) => void) | undefined
  /** Back-offs of stale values that no L1 holds: until when no refresh is tried. */
  readonly calm: Map<string, number>
  /** Set by the first `disconnect()`: the others join it. */
  disconnecting: Promise<void> | undefined
  /** Local epoch ms until which L1 may be served without a look. Infinity without a feed. */
  verifiedUntil: number
  /** Resolves once the feed brings news for the first time; undefined: it does, or there is no feed. */
  connecting: Promise<void> | undefined
  /** Catches up with other processes at once, if that is possible. */
  look: (now: number) => boolean
}

/** A place in the key space from which keys and tags are named. */
export interface View {
  /** Namespace path; `''` = the root. */
  readonly path: string
  readonly tagPath: (tag: string) => string
}

export function viewOf(path: string): View {
  let paths: Map<string, string> | undefined // most views of one call see no tag
  return {
    path,
    tagPath(tag) {
      paths ??= new Map()
      let found = paths.get(tag)
      if (found === undefined) {
        if (paths.size > 10_000) paths.clear()
        paths.set(tag, (found = under(path, `${TAG_PREFIX}${tag}`)))
      }
      return found
    },
  }
}

/** Where 1.6.1 keeps the mark of a tag, relative to the view. */
export const TAG_PREFIX = '___bc:t:'

/** One read of a caller. */
export interface Reading {
  readonly view: View
  /** As the caller named it; events say this. */
  readonly name: string
  /** Relative to the store's root. */
  readonly key: string
  readonly settings: Settings
  readonly trace: ReadTrace | undefined
}

/** One `getOrSet` of a caller. */
export interface Call extends Reading {
  readonly factory: GetSetFactory<unknown>
  readonly tags: readonly string[]
  readonly isForced: boolean
  readonly skipL2Write: boolean
  readonly skipBusNotify: boolean
  readonly startedAt: number
  /** Tag marks learned above this position came after the call. */
  readonly tagPosition: number
  /** The flight whose factory makes this call. */
  readonly inside: Flight | undefined
}

/** A caller that wants to know of L2's failures. Without an L1 that is everybody. */
export function isStrict(store: Store, settings: Settings): boolean {
  return settings.suppressL2Errors === undefined ? store.local === undefined : !settings.suppressL2Errors
}

export function boundOf(settings: Settings, hasCopy: boolean): Bound {
  return { wait: hasCopy ? settings.l2TimeoutWithCopy : settings.l2Timeout, outage: settings.l2Timeout }
}

/** Epoch ms on the coordinator's clock: the one that stored times are on. */
export function storedNow(store: Store): number {
  return store.remote === undefined ? store.clock.now() : store.remote.now()
}

export function offsetOf(store: Store): number {
  return store.remote === undefined ? 0 : store.remote.offset
}

/** Tells `onFactoryError`; whatever it throws is logged, because nobody could catch it. */
export function reportFactoryError(store: Store, settings: Settings, error: E_FACTORY_ERROR): void {
  store.observer.log?.warn?.({ err: error, key: error.key }, 'factory failed')
  try {
    settings.onFactoryError?.(error)
  } catch (thrown) {
    store.observer.trouble('onFactoryError threw', thrown, { key: error.key })
  }
}
