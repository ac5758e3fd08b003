import type { Entry, TagMark } from '../base/entry.js'
import { ignore } from '../base/promises.js'
import { E_L2_CACHE_ERROR } from '../base/errors.js'
import type { Bound } from '../tier/remote.js'
import type { Store, View } from './store.js'

/**
 * The one judge of tags: an entry is hit by a tag whose mark is not older than the entry
 * (`createdAt <= mark`). 'unknown': L2 must be asked first.
 */
export function verdict(store: Store, view: View, entry: Entry): 'clear' | 'invalidated' | 'unknown' {
  if (entry.tags.length === 0) return 'clear'
  if (entry.createdAt === undefined) return 'clear'
  const marks = marksOf(store, view, entry)
  const now = store.clock.now()
  let isKnown = true
  for (let i = 0; i < marks.length; i++) {
    const mark = marks[i]!
    if (entry.createdAt <= mark.time) return 'invalidated'
    if (now >= mark.knownUntil) isKnown = false
  }
  return isKnown ? 'clear' : 'unknown'
}

/**
 * The verdict after asking L2 for what is not known; `always` for entries that came from L2
 * themselves, which must not be younger news than their marks. What L2 does not answer is not
 * remembered, and counts as clear.
 */
export async function judge(store: Store, view: View, entry: Entry, bound: Bound, always = false): Promise<'clear' | 'invalidated'> {
  const known = verdict(store, view, entry)
  if (known !== 'unknown' && !(known === 'clear' && always && entry.tags.length > 0)) return known
  await learn(store, entry.tags.map(view.tagPath), bound)
  entry.marks = undefined // the ones it holds may have been forgotten meanwhile
  return verdict(store, view, entry) === 'invalidated' ? 'invalidated' : 'clear'
}

/** Reads marks from L2 in one round trip; concurrent calls for the same marks share it. */
export function learn(store: Store, paths: readonly string[], bound: Bound): Promise<void> {
  const { remote } = store
  if (remote === undefined) return Promise.resolve()
  const id = paths.join('\n')
  let learning = LEARNING.get(store)
  if (learning === undefined) LEARNING.set(store, (learning = new Map()))
  let promise = learning.get(id)
  if (promise === undefined) {
    promise = ask(store, paths, bound).finally(() => learning.delete(id))
    ignore(promise)
    learning.set(id, promise)
  }
  return promise
}

/**
 * The youngest creation time that no mark of these tags hits, given marks learned before
 * `position`: `await deleteByTag(); await set()` within one millisecond must be readable.
 */
export function createdAfterMarks(store: Store, view: View, tags: readonly string[], createdAt: number, position: number): number {
  let created = createdAt
  for (const tag of tags) {
    const mark = store.tagMarks.of(view.tagPath(tag))
    if (mark.learnedAt <= position && mark.time >= created) created = mark.time + 1
  }
  for (const tag of tags) {
    const mark = store.tagMarks.of(view.tagPath(tag))
    mark.youngest = Math.max(mark.youngest, Math.ceil(created))
  }
  return created
}

/** Has a mark hit the entry that this process knew at `position`? */
export function wasInvalidatedBefore(store: Store, view: View, entry: Entry, position: number): boolean {
  if (entry.tags.length === 0 || entry.createdAt === undefined) return false
  return marksOf(store, view, entry).some((mark) => mark.time >= entry.createdAt! && mark.learnedAt <= position)
}

/**
 * Asks L2 when tags were invalidated, if that is all this process had heard at `position`;
 * undefined when there is nothing to ask.
 */
export function learnNews(store: Store, view: View, entry: Entry, position: number, bound: Bound): Promise<void> | undefined {
  if (entry.tags.length === 0) return undefined
  const isInDoubt = marksOf(store, view, entry).some(({ heardAt }) => heardAt !== undefined && heardAt <= position)
  return isInDoubt ? learn(store, entry.tags.map(view.tagPath), bound) : undefined
}

/** The youngest mark of the entry's tags. */
export function youngestMark(store: Store, view: View, entry: Entry): number {
  return Math.max(0, ...marksOf(store, view, entry).map((mark) => mark.time))
}

const TAG_TRUST = 5_000

const LEARNING = new WeakMap<Store, Map<string, Promise<void>>>()

async function ask(store: Store, paths: readonly string[], bound: Bound): Promise<void> {
  const found = await store.remote!.readMany(paths, bound)
  if (found instanceof E_L2_CACHE_ERROR) return
  paths.forEach((path, i) => {
    const entry = found[i]
    const time = entry === undefined ? 0 : Number(store.codec.open(entry))
    store.tagMarks.learn(path, Number.isFinite(time) ? time : 0, trustedUntil(store))
  })
}

/** A feed tells when a mark changes; without one, what is known of a tag is asked again before long. */
export function trustedUntil(store: Store): number {
  return store.verifiedUntil < Infinity ? Infinity : store.clock.now() + TAG_TRUST
}

/** Found once per entry and reading view, so that a hit looks nothing up. */
function marksOf(store: Store, view: View, entry: Entry): readonly TagMark[] {
  if (entry.marks === undefined || entry.scope !== view.path) {
    entry.marks = entry.tags.map((tag) => store.tagMarks.of(view.tagPath(tag)))
    entry.scope = view.path
  }
  return entry.marks
}

