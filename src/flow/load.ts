import type { Entry } from '../base/entry.js'
import { E_FACTORY_ERROR, E_L2_CACHE_ERROR, E_UNDEFINED_VALUE } from '../base/errors.js'
import { within } from '../base/promises.js'
import { runFactory } from '../flight/factory.js'
import type { Draft, Outcome } from '../flight/factory.js'
import type { Flight, Landing } from '../flight/flights.js'
import { rebuildError, shareError } from '../flight/lease.js'
import type { Asking, Grant, Leases, Turn } from '../flight/lease.js'
import type { Pending } from '../flight/pending.js'
import { publishDelete } from './invalidate.js'
import { isFallbackFor, lookInL2, promote } from './lookup.js'
import type { Seen } from './lookup.js'
import { boundOf, isStrict, offsetOf, reportFactoryError, storedNow } from './store.js'
import type { Call, Store } from './store.js'
import { createdAfterMarks, judge, youngestMark } from './tags.js'
import { announce, lifeOf } from './write.js'

/** One run of a flight: what every step below needs. */
interface Work {
  store: Store
  flight: Flight
  call: Call
  /** L1's copy when the flight departed: stale, or unconfirmed. */
  copy: Entry | undefined
  pending: Pending
  seen: Seen
}

/**
 * A leader's work: shared copy → our turn → factory → write. Never throws: whatever happens is
 * the landing of those who wait.
 */
export async function load(store: Store, flight: Flight, call: Call, copy: Entry | undefined): Promise<Landing> {
  if (store.leases === undefined && store.connecting !== undefined) await firstNews(store, store.connecting)
  const pending = store.pending.begin(flight.key)
  // Listening begins before the first read: an event may arrive before the reply that names its term.
  const asking = store.leases && listen(store, store.leases, flight, pending)
  const work: Work = { store, flight, call, copy, pending, seen: NOTHING }
  try {
    for (;;) {
      const landing = await look(work)
      if (landing !== undefined) return landing

      const turn = asking === undefined ? ALWAYS_OURS : await takeTurn(work, store.leases!, asking)
      const landed =
        turn.kind === 'ours' ? await compute(work, turn, asking) : turn.kind === 'theirs' ? await landTheirs(work, turn, asking!) : leave(work, turn)
      if (landed !== undefined) return landed
    }
  } catch (error) {
    return { kind: 'failed', error: error as Error, isEverybodys: true }
  } finally {
    store.pending.end(pending)
    asking?.watch.close()
  }
}

/**
 * The first flights of a process without leases. Schedule: it departs, the feed connects; what was
 * missed until then is unknown, nothing else fences the flight, and its result is not stored. A
 * process that lives for one call would never store anything.
 */
async function firstNews(store: Store, connecting: Promise<void>): Promise<void> {
  if (!store.remote!.isDown) await within(store.clock, connecting, FIRST_NEWS)
}

/** What may end the flight before anything is computed. */
async function look(work: Work): Promise<Landing | undefined> {
  const { store, flight, call, copy } = work
  if (flight.isForced) {
    flight.arrive({ entry: undefined, trouble: undefined, isEnd: false })
    return undefined
  }
  const seen = (work.seen = await lookInL2(store, call, copy !== undefined))
  const { entry, trouble } = seen
  const landing = answerOf(work, seen)
  flight.arrive({ entry, trouble, isEnd: landing?.kind === 'entry' })
  const isGone = trouble === undefined && entry === undefined && copy?.isConfirmed === false
  if (isGone && store.local?.read(flight.key) === copy) store.local.delete(flight.key) // L2's word counts
  return landing
}

/** What was seen, if it is worth serving. */
function answerOf({ store, flight, call, copy, pending }: Work, { entry, trouble, isFresh, text }: Seen): Landing | undefined {
  const isCalm = entry !== undefined && store.clock.now() < (store.calm.get(flight.key) ?? 0)
  if (entry !== undefined && (isFresh || isCalm)) {
    if (isFresh && !pending.isMarked && !flight.isOutrun) promote(store, call, entry, text)
    return { kind: 'entry', entry, from: 'l2' }
  }
  if (trouble === undefined) return undefined
  if (copy !== undefined && isFallbackFor(store, copy)) return { kind: 'entry', entry: copy, from: 'l1' }
  if (isStrict(store, call.settings)) return { kind: 'failed', error: trouble, isEverybodys: false }
  return undefined
}

function listen(store: Store, leases: Leases, flight: Flight, pending: Pending): Asking {
  const watch = leases.watch(flight.key)
  return { flight, watch, pending, seen: undefined, floor: 0, ignoresFailure: true, lossGrace: store.lossGrace }
}

async function takeTurn(work: Work, leases: Leases, asking: Asking): Promise<Turn> {
  const { store, call, copy, seen } = work
  asking.seen = seen.text
  if (seen.hitBy > 0) asking.floor = Math.max(asking.floor, seen.hitBy + 1)
  const hasFallback = call.settings.grace > 0 && (copy ?? seen.entry) !== undefined
  asking.lossGrace = hasFallback ? 0 : store.lossGrace
  asking.ignoresFailure = !hasFallback
  return leases.takeTurn(asking)
}

/** What another process had, for those who waited for it. undefined: look again. */
async function landTheirs(work: Work, turn: Turn & { kind: 'theirs' }, asking: Asking): Promise<Landing | undefined> {
  const { store, flight, call, pending } = work
  const { ending } = turn
  if (ending.kind === 'nothing') return { kind: 'nothing' }
  if (ending.kind === 'failed') {
    const error = new E_FACTORY_ERROR(call.name, rebuildError(ending.error), flight.waiting === 0, true)
    backOff(work, call.settings.graceBackoff)
    return { kind: 'failed', error, isEverybodys: true }
  }
  const entry = store.codec.decode(ending.text)
  if (entry === undefined) return undefined
  entry.calmUntil = entry.freshUntil - offsetOf(store)
  if ((await judge(store, call.view, entry, boundOf(call.settings, false), true)) === 'invalidated') {
    // Ask for data younger than the mark; what that term had must not be answered again.
    asking.floor = Math.max(asking.floor, youngestMark(store, call.view, entry) + 1)
    delete asking.heldIn
    return undefined
  }
  if (ending.kind === 'stored' && !pending.isMarked && !flight.isOutrun) promote(store, call, entry, ending.text)
  return { kind: 'entry', entry, from: 'factory' }
}

/** Somebody else computes and nobody waits here: the stale copy is calm until that one's time is over. */
function leave(work: Work, turn: Turn & { kind: 'leave' | 'look' }): Landing | undefined {
  if (turn.kind === 'look') return undefined
  backOff(work, turn.ms)
  return { kind: 'nothing' }
}

/** Runs the factory and stores what it had. undefined: an heir has stored it, look. */
async function compute(work: Work, turn: Turn & { kind: 'ours' }, asking: Asking | undefined): Promise<Landing | undefined> {
  const { store, flight, call, copy, seen } = work
  const { grant } = turn
  const stale = call.isForced ? undefined : (seen.entry ?? copy)
  const position = store.tagMarks.position
  const startedAt = grant?.createdAt ?? storedNow(store)
  const draft = draftOf(call)
  const graced = () => (stale === undefined ? undefined : { value: store.codec.open(stale) })

  count(store, call, turn, stale)
  flight.isStarted = true
  let isOver = false
  const computed = store.observer
    .trace('factory', flight.key, () => throwing(store.recursion.run(flight, () => runFactory(call.factory, draft, graced))))
    .catch((cause: unknown) => ({ kind: 'failed' as const, cause }))
  const outcome = await firstOf(work, computed, grant && asking && store.leases!.heir(asking, grant.lease, () => isOver))
  isOver = true
  if (outcome.kind === 'look' || outcome.kind === 'theirs') {
    store.leases!.forget(grant!.lease)
    return outcome.kind === 'theirs' ? landTheirs(work, outcome, asking!) : undefined
  }
  if (outcome.kind === 'landed') return outcome.landing

  if (outcome.kind === 'failed') return fail(work, draft, outcome.cause, grant, stale)
  if (outcome.kind === 'nothing') {
    if (grant !== undefined) await store.leases!.settle(grant.lease, { kind: 'nothing' })
    return { kind: 'nothing' }
  }
  if (outcome.value === undefined) return fail(work, draft, new E_UNDEFINED_VALUE(call.name), grant, stale)
  const createdAt = createdAfterMarks(store, call.view, draft.tags, startedAt, position)
  return store.observer.trace('set', flight.key, () => keep(work, draft, outcome.value, createdAt, grant))
}

/** Puts a computed value where it belongs. Everybody who waits gets it, stored or not. */
async function keep(work: Work, draft: Draft, value: unknown, createdAt: number, grant: Grant | undefined): Promise<Landing> {
  const { store, flight, call, pending } = work
  const now = storedNow(store)
  const freshUntil = draft.ttl === 0 ? now - 1 : now + draft.ttl
  const keepMs = lifeOf(draft.ttl, draft.grace)
  const mayGoToL2 = store.remote !== undefined && !draft.skipL2Write && keepMs > 0
  const text = encode(work, value, createdAt, freshUntil, draft.tags)
  const entry = store.codec.entryOf(value, text, createdAt, freshUntil, draft.tags)
  const landing: Landing & { kind: 'entry' } = { kind: 'entry', entry, from: 'factory' }

  const goesToL2 = mayGoToL2 && text !== undefined
  if (grant !== undefined && !goesToL2) {
    await store.leases!.settle(grant.lease, text === undefined ? { kind: 'abandoned' } : { kind: 'value', text })
  }
  const isStored = goesToL2 ? await storeInL2(work, text, keepMs, grant) : false
  if (isStored === 'refused') return landing
  if (flight.isOutrun || pending.isMarked) {
    store.observer.stats.outrun++
    return landing
  }
  if (keepMs === 0) await dropOld(work, draft)
  if ((text !== undefined || store.codec.byReference) && keepMs > 0) {
    entry.isLocalOnly = isStored !== true
    store.local?.keep(flight.key, entry, text, now + keepMs, offsetOf(store))
    // Computed while nobody could be asked: L2's word will count as soon as there is one.
    if (isStored instanceof E_L2_CACHE_ERROR && store.verifiedUntil !== Infinity) unconfirm(entry)
  }
  store.flights.hasStored(flight)
  store.calm.delete(flight.key)
  if (isStored instanceof E_L2_CACHE_ERROR) landing.trouble = isStored
  if (landing.trouble !== undefined && isStrict(store, call.settings)) store.local?.delete(flight.key)
  if (isStored === true) await announce(store, call.view, call.name, draft.skipBusNotify)
  store.observer.written(call.name, value)
  return landing
}

/** To L2: under the lease, or plainly. 'refused': it was invalidated, or somebody had stored before. */
async function storeInL2(work: Work, text: string, keepMs: number, grant: Grant | undefined): Promise<boolean | 'refused' | E_L2_CACHE_ERROR> {
  const { store, flight, call, pending } = work
  if (grant !== undefined) {
    const answer = await store.leases!.fulfill(grant.lease, text, keepMs)
    if (answer === 'stored') return true
    if (answer instanceof Error) return answer instanceof E_L2_CACHE_ERROR ? answer : new E_L2_CACHE_ERROR(answer)
    store.observer.refused(call.name, answer, flight.isOutrun || pending.isMarked)
    return 'refused'
  }
  if (flight.isOutrun || pending.isMarked) return false
  const bound = boundOf(call.settings, false)
  const written = await store.remote!.write(flight.key, text, keepMs, bound)
  if (pending.isMarked) await store.remote!.takeBack(flight.key, text, bound)
  return written
}

async function fail(work: Work, draft: Draft, cause: unknown, grant: Grant | undefined, stale: Entry | undefined): Promise<Landing> {
  const { store, flight, call } = work
  const error = new E_FACTORY_ERROR(call.name, cause, flight.waiting === 0)
  reportFactoryError(store, call.settings, error)
  const hasFallback = call.settings.grace > 0 && stale !== undefined
  if (hasFallback) backOff(work, draft.graceBackoff)

  let isEverybodys = flight.fails === 1
  if (grant !== undefined) {
    const ending = call.settings.sharesFailures ? ({ kind: 'failed', error: shareError(cause) } as const) : ({ kind: 'abandoned' } as const)
    const backoffMs = hasFallback ? draft.graceBackoff : 0
    await store.leases!.settle(grant.lease, ending, { followers: flight.followers > 0, backoffMs })
    isEverybodys ||= grant.fails === 1
  }
  return { kind: 'failed', error: cause instanceof E_UNDEFINED_VALUE ? cause : error, isEverybodys }
}

/** No refresh of the stale value for so long; its grace does not get longer by that. */
function backOff({ store, flight, call, copy, seen, pending }: Work, ms: number): void {
  if (ms <= 0) return
  const { key } = flight
  const until = store.clock.now() + ms
  const kept = store.local?.read(key)
  if (kept !== undefined && kept === copy) {
    kept.calmUntil = Math.min(until, kept.deadAt)
  } else if (seen.entry !== undefined && !pending.isMarked) {
    if (store.local !== undefined && kept === undefined) {
      promote(store, call, seen.entry, seen.text)
      seen.entry.calmUntil = Math.min(until, seen.entry.deadAt)
    } else if (store.local === undefined) {
      if (store.calm.size > 10_000) store.calm.clear()
      store.calm.set(key, until)
    }
  }
}

/** A value of ttl 0 is not kept, and neither is what it replaces. A forced flight has not seen what that is. */
async function dropOld({ store, flight, call, seen }: Work, draft: Draft): Promise<void> {
  store.local?.delete(flight.key)
  if (store.remote === undefined || draft.skipL2Write || (seen.text === undefined && !flight.isForced)) return
  await store.remote.delete([flight.key], boundOf(call.settings, false))
  if (!draft.skipBusNotify) await publishDelete(store, call.view, call.name)
}

/** undefined: it cannot be stored; those who wait get it all the same. */
function encode({ store, flight }: Work, value: unknown, createdAt: number, freshUntil: number, tags: readonly string[]): string | undefined {
  if (store.remote === undefined && (store.codec.byReference || store.local === undefined)) return undefined
  try {
    return store.codec.encode(value, createdAt, freshUntil, tags)
  } catch (error) {
    store.observer.log?.warn?.({ err: error, key: flight.key }, 'the computed value cannot be stored')
    return undefined
  }
}

function unconfirm(entry: Entry): void {
  entry.isConfirmed = false
  entry.calmUntil = 0
}

type Heir = Awaited<ReturnType<Leases['heir']>>
type Ended = Outcome | Heir | { kind: 'landed'; landing: Landing }

/** Our factory's outcome, or what an heir of our term or an older flight of ours has stored before. */
function firstOf({ flight }: Work, computed: Promise<Outcome>, heir: Promise<Heir> | undefined): Promise<Ended> {
  const older = flight.replaces
  if (heir === undefined && older === undefined) return computed
  const ends: Promise<Ended>[] = [computed]
  if (heir !== undefined) ends.push(heir)
  if (older !== undefined) {
    ends.push(
      new Promise((resolve) => {
        void older.done.then((landing) => landing.kind === 'entry' && !flight.isOutrun && resolve({ kind: 'landed', landing }))
      })
    )
  }
  return Promise.race(ends)
}

function count(store: Store, call: Call, turn: Turn & { kind: 'ours' }, stale: Entry | undefined): void {
  const { executions } = store.observer.stats
  if (turn.trigger === 'takeover') store.observer.tookOver(call.name)
  if (turn.trigger !== 'miss') executions[turn.trigger]++
  else if (call.isForced) executions.forced++
  else if (stale !== undefined) executions.stale++
  else executions.miss++
}

function draftOf(call: Call): Draft {
  const { ttl, grace, graceBackoff } = call.settings
  const { skipL2Write, skipBusNotify } = call
  return { ttl, grace, graceBackoff, tags: [...call.tags], skipL2Write, skipBusNotify }
}

/** A tracer sees a failed factory as a rejection; the flow sees a value. */
async function throwing(outcome: Promise<Outcome>): Promise<Outcome> {
  const ended = await outcome
  if (ended.kind === 'failed') throw ended.cause
  return ended
}

/** How long a flight waits for the feed's connection, ms; its own request waits for one as well. */
const FIRST_NEWS = 250

const NOTHING: Seen = { entry: undefined, isFresh: false, text: undefined, trouble: undefined, hitBy: 0 }

const ALWAYS_OURS: Turn = { kind: 'ours', grant: undefined, trigger: 'miss' }

