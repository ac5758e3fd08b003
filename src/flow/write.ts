import { CacheBusMessageType } from '../base/contract.js'
import type { Entry } from '../base/entry.js'
import { E_L2_CACHE_ERROR, E_UNDEFINED_VALUE } from '../base/errors.js'
import type { Settings } from '../base/settings.js'
import { heard, publish } from './invalidate.js'
import { boundOf, isStrict, offsetOf, storedNow } from './store.js'
import type { Store, View } from './store.js'
import { createdAfterMarks } from './tags.js'

/** An explicit `set`, as its caller asked for it. */
export interface Writing {
  view: View
  name: string
  key: string
  value: unknown
  settings: Settings
  tags: readonly string[]
  skipL2Write: boolean
  skipBusNotify: boolean
}

/**
 * `set`: L1 at once, so that a read in this process sees it; then L2; then the others are told,
 * unless L2 failed. It outruns flights of its key, and ends the leases of other processes.
 * @returns whether a tier keeps it
 */
export async function set(store: Store, writing: Writing): Promise<boolean> {
  const { view, key, value, settings, tags } = writing
  if (value === undefined) throw new E_UNDEFINED_VALUE(writing.name)

  const now = storedNow(store)
  const createdAt = createdAfterMarks(store, view, tags, now, store.tagMarks.position)
  const freshUntil = settings.ttl === 0 ? now - 1 : now + settings.ttl
  const until = now + lifeOf(settings.ttl, settings.grace)
  const staysHere = store.remote === undefined || writing.skipL2Write
  const text = staysHere && store.codec.byReference ? undefined : store.codec.encode(value, createdAt, freshUntil, tags)
  const entry = store.codec.entryOf(value, text, createdAt, freshUntil, tags)

  heard(store, { kind: 'write', key })
  const isKeptByL1 = store.local?.keep(key, entry, text, until, offsetOf(store)) ?? false
  const isInL2 = await store.pending.write(key, () => writeToL2(store, writing, text, until - now))
  entry.isLocalOnly = isInL2 !== true
  // Acknowledged: what began meanwhile may have read what this write replaced.
  heard(store, { kind: 'write', key })
  if (isInL2 instanceof E_L2_CACHE_ERROR) {
    if (isStrict(store, settings)) {
      if (store.local?.read(key) === entry) store.local.delete(key)
      throw isInL2
    }
  } else if (!writing.skipBusNotify && (isInL2 || store.remote === undefined)) {
    await publish(store, view, until > now ? CacheBusMessageType.Set : CacheBusMessageType.Delete, [writing.name])
  }
  store.observer.written(writing.name, value)
  return isKeptByL1 || isInL2 === true || until <= now
}

/** Tells the other processes of a value that a flight has stored. */
export async function announce(store: Store, view: View, name: string, skipBusNotify: boolean): Promise<void> {
  // Without an L2 there is nothing to converge on: peers keep what they computed themselves.
  if (skipBusNotify || store.remote === undefined) return
  await publish(store, view, CacheBusMessageType.Set, [name])
}

/** How long storage keeps what is written now: grace counts from the write. */
export function lifeOf(ttl: number, grace: number): number {
  if (ttl === 0) return grace
  return Math.max(ttl, grace)
}

/** When storage drops an entry that was written with `settings`, or, read back, at least its freshness. */
export function keptUntil(entry: Entry, settings: Settings): number {
  const graced = settings.grace > 0 && entry.createdAt !== undefined ? entry.createdAt + settings.grace : 0
  return Math.max(entry.freshUntil, graced)
}

/** Whether L2 took it; false also when it was not asked. A ttl of 0 without grace removes instead. */
async function writeToL2(store: Store, writing: Writing, text: string | undefined, keepMs: number): Promise<boolean | E_L2_CACHE_ERROR> {
  const { remote } = store
  if (remote === undefined || writing.skipL2Write || text === undefined) return false
  const bound = boundOf(writing.settings, false)
  if (keepMs > 0) return remote.write(writing.key, text, keepMs, bound)
  const removed = await remote.delete([writing.key], bound)
  return removed instanceof E_L2_CACHE_ERROR ? removed : true
}

