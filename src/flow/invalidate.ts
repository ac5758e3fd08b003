import { CacheBusMessageType } from '../base/contract.js'
import { E_L2_CACHE_ERROR } from '../base/errors.js'
import { under } from '../base/keys.js'
import type { Settings } from '../base/settings.js'
import type { News } from '../bus/coherence.js'
import { TAG_PREFIX, boundOf, isStrict, offsetOf, storedNow } from './store.js'
import type { Reading, Store, View } from './store.js'
import { trustedUntil } from './tags.js'

/**
 * L1 and everything under way learn of it. Flights of the key take no newcomers, reads of it
 * will not enter L1. Those who wait keep waiting: they asked before.
 */
export function heard(store: Store, news: News): void {
  switch (news.kind) {
    case 'clear':
      store.local?.clear(news.path)
      store.pending.markAll(news.path)
      store.flights.outrunAll(news.path)
      store.calm.clear()
      return
    case 'gap':
      store.local?.unconfirm()
      store.pending.markAll('')
      // Until the first news, a flight without a lease has read nothing yet (`load.ts`).
      if (store.connecting === undefined) store.flights.outrunAll('')
      store.tagMarks.forgetAll()
      return
    case 'tag':
      if (news.time === undefined && store.remote !== undefined) store.tagMarks.hear(news.key)
      else store.tagMarks.learn(news.key, news.time ?? store.clock.now(), trustedUntil(store))
      return
    case 'delete':
      store.local?.delete(news.key)
      break
    case 'expire':
    case 'stored':
      store.local?.expire(news.key, offsetOf(store))
      break
    case 'write':
  }
  const term = news.kind === 'stored' ? news.term : undefined
  store.pending.mark(news.key, term)
  store.flights.outrun(news.key, term)
  store.calm.delete(news.key)
}

/** @returns whether some tier had it; true when L2 could not be asked */
export async function remove(store: Store, reading: Reading): Promise<boolean> {
  const { view, name, key, settings } = reading
  const wasInL1 = store.local?.delete(key) ?? false
  const removed = await invalidate(store, view, [name], settings, 'delete')
  if (!isRefused(store, settings, removed)) store.observer.deleted(name)
  await publish(store, view, CacheBusMessageType.Delete, [name])
  throwIfStrict(store, settings, removed)
  return wasInL1 || removed instanceof E_L2_CACHE_ERROR || removed[0] === true
}

export async function removeMany(store: Store, view: View, names: readonly string[], settings: Settings): Promise<true> {
  const removed = await invalidate(store, view, names, settings, 'delete')
  if (!isRefused(store, settings, removed)) for (const name of names) store.observer.deleted(name)
  await publish(store, view, CacheBusMessageType.Delete, names)
  throwIfStrict(store, settings, removed)
  return true
}

export async function expire(store: Store, reading: Reading): Promise<true> {
  const { view, name, settings } = reading
  const expired = await invalidate(store, view, [name], settings, 'expire')
  await publish(store, view, CacheBusMessageType.Expire, [name])
  throwIfStrict(store, settings, expired)
  store.observer.expired(name)
  return true
}

export async function clear(store: Store, view: View, settings: Settings): Promise<void> {
  const { path } = view
  heard(store, { kind: 'clear', path })
  const cleared = await store.remote?.clear(path, boundOf(settings, false))
  heard(store, { kind: 'clear', path }) // acknowledged: what began meanwhile may have read old values
  await publish(store, view, CacheBusMessageType.Clear, [])
  throwIfStrict(store, settings, cleared)
  store.observer.cleared()
}

/** Entries with one of these tags that were created until now are served by nobody any more. */
export async function removeByTag(store: Store, view: View, tags: readonly string[], settings: Settings): Promise<true> {
  const paths = [...new Set(tags)].map(view.tagPath)
  if (paths.length === 0) return true
  // Or it would not hit what was made ahead of the clock: above an older mark, or by a guess of the server's.
  const floor = Math.max(...paths.map((path) => store.tagMarks.of(path).youngest))
  const at = Math.max(storedNow(store), floor)
  for (const path of paths) store.tagMarks.learn(path, at, trustedUntil(store))
  if (store.remote !== undefined) {
    const time = await store.remote.mark(paths, floor, boundOf(settings, false))
    if (time instanceof E_L2_CACHE_ERROR) throwIfStrict(store, settings, time)
    else for (const path of paths) store.tagMarks.learn(path, time, trustedUntil(store))
  }
  for (const tag of new Set(tags)) {
    await publish(store, view, CacheBusMessageType.Set, [TAG_PREFIX + tag])
  }
  return true
}

export function publishDelete(store: Store, view: View, name: string): Promise<void> {
  return publish(store, view, CacheBusMessageType.Delete, [name])
}

/** Tells the other processes. Never rejects. */
export async function publish(store: Store, view: View, type: CacheBusMessageType, names: readonly string[]): Promise<void> {
  if (store.bus === undefined) return
  await store.bus.publish({ type, keys: [...names], namespace: view.path ? under(store.prefix, view.path) : store.prefix })
}

/** Acts at the call and again when acknowledged: a read sent in between may have found the old value. */
export async function invalidate(store: Store, view: View, names: readonly string[], settings: Settings, how: 'delete' | 'expire') {
  const keys = names.map((name) => under(view.path, name))
  for (const key of keys) heard(store, { kind: how, key })
  if (store.remote === undefined) return keys.map(() => false)
  const answer = await store.remote[how](keys, boundOf(settings, false))
  for (const key of keys) heard(store, { kind: how, key })
  return answer
}

/** Peers have been told all the same: the value may be gone, and theirs must go. */
function throwIfStrict(store: Store, settings: Settings, answer: unknown): void {
  if (isRefused(store, settings, answer)) throw answer
}

function isRefused(store: Store, settings: Settings, answer: unknown): boolean {
  return answer instanceof E_L2_CACHE_ERROR && isStrict(store, settings)
}
