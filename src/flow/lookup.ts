import type { Entry } from '../base/entry.js'
import { E_L2_CACHE_ERROR } from '../base/errors.js'
import type { Factory } from '../base/options.js'
import { heard, invalidate, publishDelete } from './invalidate.js'
import { boundOf, isStrict, offsetOf, storedNow } from './store.js'
import type { Reading, Store } from './store.js'
import { judge, verdict, youngestMark } from './tags.js'
import { keptUntil } from './write.js'

/** What L2 has of a key, judged: `entry` is never one that a tag has hit. */
export interface Seen {
  entry: Entry | undefined
  isFresh: boolean
  /** The text as it is stored, judged or not. */
  text: string | undefined
  trouble: E_L2_CACHE_ERROR | undefined
  /** The youngest mark that hit the stored entry; 0 = none. */
  hitBy: number
}

/** `get`: L1, then L2, promoted; with grace the stale value of either, L2's first. */
export async function get(store: Store, reading: Reading, defaultValue: Factory<unknown> | undefined): Promise<unknown> {
  const found = await find(store, reading)
  if (found instanceof E_L2_CACHE_ERROR) {
    store.observer.readFailed(reading.name, true)
    throw found
  }
  if (found === undefined) return miss(store, reading, defaultValue)
  return serveHit(store, reading, found.entry, found.tier)
}

/** `has`: fresh in some tier. Promotes nothing and tells nobody. */
export async function has(store: Store, reading: Reading): Promise<boolean> {
  const copy = await localCopy(store, reading)
  if (copy !== undefined && isServable(store, reading, copy)) return true
  if (store.remote === undefined) return false
  const seen = await lookInL2(store, reading, copy !== undefined)
  if (seen.trouble !== undefined && isStrict(store, reading.settings)) throw seen.trouble
  return seen.isFresh || (seen.trouble !== undefined && copy !== undefined && isFallbackFor(store, copy))
}

/** `get` and `delete` in one: of two pulls at once, one gets the value. */
export async function pull(store: Store, reading: Reading): Promise<unknown> {
  const { view, name, key, settings } = reading
  const copy = await localCopy(store, reading)
  const mine = store.local?.read(key) === copy ? copy : undefined
  heard(store, { kind: 'delete', key })
  let taken = mine
  let tier: 'l1' | 'l2' = 'l1'
  if (store.remote !== undefined) {
    const read = await store.remote.pull(key, boundOf(settings, false))
    if (read.trouble !== undefined && isStrict(store, settings)) throw read.trouble
    if (read.trouble === undefined && !(mine?.isLocalOnly && read.entry === undefined)) {
      taken = read.entry
      tier = 'l2'
      if (taken !== undefined && (await judge(store, view, taken, boundOf(settings, false), true)) === 'invalidated') taken = undefined
    }
    await invalidate(store, view, [name], settings, 'delete')
  }
  const isServed = taken !== undefined && (isFresh(store, taken) || settings.grace > 0)
  const value = isServed ? store.codec.open(taken!) : undefined
  if (isServed) store.observer.hit(name, value, tier, !isFresh(store, taken!), reading.trace)
  else store.observer.miss(name, reading.trace)
  store.observer.deleted(name)
  await publishDelete(store, view, name)
  return value
}

/**
 * What L1 holds and no tag has hit; stale and unconfirmed ones too. A promise only when L2 has to
 * be asked for marks: a burst of calls must find the flight that its first call departs.
 */
export function localCopy(store: Store, reading: Reading): Entry | undefined | Promise<Entry | undefined> {
  const entry = store.local?.find(reading.key)
  if (entry === undefined) return undefined
  const known = verdict(store, reading.view, entry)
  if (known === 'unknown') return judgedCopy(store, reading, entry)
  return known === 'clear' ? entry : undefined
}

async function judgedCopy(store: Store, { view, settings }: Reading, entry: Entry): Promise<Entry | undefined> {
  return (await judge(store, view, entry, boundOf(settings, true))) === 'clear' ? entry : undefined
}

/**
 * May be served without asking anybody: fresh (or in a back-off), and nothing was missed since.
 * Making sure of the latter may bring news of this very entry, so it comes first.
 */
export function isServable(store: Store, { view, key }: Reading, entry: Entry): boolean {
  const now = store.clock.now()
  if (now >= store.verifiedUntil && !store.look(now)) return false
  if (!entry.isConfirmed || !(now < entry.calmUntil || isFresh(store, entry))) return false
  return store.local!.holds(key, entry) && verdict(store, view, entry) !== 'invalidated'
}

export function isFresh(store: Store, entry: Entry): boolean {
  return storedNow(store) < entry.freshUntil
}

/** An unconfirmed copy, fresh by the clock, for when L2 cannot be asked. */
export function isFallbackFor(store: Store, copy: Entry): boolean {
  return store.servesUnverified && isFresh(store, copy)
}

/** One read of L2, and of the marks of what it found. */
export async function lookInL2(store: Store, { view, key, settings }: Reading, hasCopy: boolean): Promise<Seen> {
  const seen: Seen = { entry: undefined, isFresh: false, text: undefined, trouble: undefined, hitBy: 0 }
  if (store.remote === undefined) return seen
  const bound = boundOf(settings, hasCopy)
  const { entry, text, trouble } = await store.remote.read(key, bound)
  seen.text = text
  seen.trouble = trouble
  if (entry === undefined) return seen
  if ((await judge(store, view, entry, bound, true)) === 'invalidated') {
    seen.hitBy = youngestMark(store, view, entry)
    return seen
  }
  seen.entry = entry
  seen.isFresh = isFresh(store, entry)
  return seen
}

/** Copies an L2 entry into L1, for no longer than storage would keep it. */
export function promote(store: Store, { key, settings }: Reading, entry: Entry, text: string | undefined): void {
  store.local?.keep(key, entry, text, keptUntil(entry, settings), offsetOf(store))
}

export function serveHit(store: Store, { name, trace }: Reading, entry: Entry, tier: 'l1' | 'l2'): unknown {
  const value = store.codec.open(entry)
  store.observer.hit(name, value, tier, !isFresh(store, entry), trace)
  return value
}

async function find(store: Store, reading: Reading): Promise<{ entry: Entry; tier: 'l1' | 'l2' } | E_L2_CACHE_ERROR | undefined> {
  const copy = await localCopy(store, reading)
  if (copy !== undefined && isServable(store, reading, copy)) return { entry: copy, tier: 'l1' }

  const pending = store.pending.begin(reading.key)
  try {
    const seen = await lookInL2(store, reading, copy !== undefined)
    const { entry } = seen
    if (entry !== undefined && (seen.isFresh || reading.settings.grace > 0)) {
      if (!pending.isMarked) promote(store, reading, entry, seen.text)
      return { entry, tier: 'l2' }
    }
    if (seen.trouble !== undefined) {
      if (copy !== undefined && isFallbackFor(store, copy)) return { entry: copy, tier: 'l1' }
      if (isStrict(store, reading.settings)) return seen.trouble
    }
    const isGone = copy !== undefined && !copy.isConfirmed && seen.trouble === undefined && store.remote !== undefined
    if (isGone && store.local?.read(reading.key) === copy) store.local.delete(reading.key)
    if (copy !== undefined && !isGone && reading.settings.grace > 0) return { entry: copy, tier: 'l1' }
    return undefined
  } finally {
    store.pending.end(pending)
  }
}

async function miss(store: Store, { name, trace }: Reading, defaultValue: Factory<unknown> | undefined): Promise<unknown> {
  store.observer.miss(name, trace)
  const value = typeof defaultValue === 'function' ? await defaultValue() : await defaultValue
  return typeof value === 'function' ? value() : value
}
