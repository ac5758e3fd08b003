import { createHash } from 'node:crypto'
import type {
  AcquireOptions,
  Acquired,
  Ending,
  Feed,
  Lease,
  LeaseCapability,
  LeaseInfo,
  MakeStale,
  SettleOptions,
  Watch,
} from '../../base/contract.js'
import { staleEnvelope } from '../../base/entry.js'
import { ignore } from '../../base/promises.js'
import type { HostFeed } from './feed.js'
import type { Told } from './journal.js'
import { lmdb } from './map.js'
import type { Commit, HostMap } from './map.js'
import type { Maps } from './maps.js'
import type { Names } from './names.js'
import { isBusy, isGone, owner } from './owner.js'
import type { Slot, Stored } from './records.js'
import type { Sweeper } from './sweep.js'
import { HostTrouble } from './trouble.js'

type Running = Slot & { kind: 'running' }

/** What our own envelopes end in (`base/entry.ts`). */
const TAIL = /"createdAt":\d{13},"logicalExpiration":\d{13}}$/
const TAIL_LENGTH = 60
/** How long an end that nobody stored is told to those who ask again. */
const REMEMBER = 2_000
/** A value that nobody keeps goes through the journal up to this length. */
const INLINE = 8_192
/** After so many ms others look again for a holder that is late. */
const LATE = 100
/** Keys in one commit: while it is written, other processes wait for their turn. */
const CHUNK = 500

/**
 * Leases and whatever else changes values, in one map. Each step looks at a fresh snapshot,
 * decides, and commits on the condition that what it looked at is still so; if it is not, it looks
 * again.
 */
export class HostLease implements LeaseCapability {
  readonly leaseInfo: LeaseInfo = { scope: 'host', wakeup: 'push', clock: 'client', feed: true }
  readonly #maps: Maps
  readonly #names: Names
  readonly #feed: HostFeed
  readonly #sweeper: Sweeper
  #terms = 0

  constructor(o: { maps: Maps; names: Names; feed: HostFeed; sweeper: Sweeper }) {
    this.#maps = o.maps
    this.#names = o.names
    this.#feed = o.feed
    this.#sweeper = o.sweeper
  }

  get feed(): Feed {
    return this.#feed
  }

  fingerprint(text: string | undefined): string {
    if (text === undefined || text === '') return ''
    const tail = text.slice(-TAIL_LENGTH)
    return TAIL.test(tail) ? tail : createHash('sha1').update(text).digest('hex')
  }

  acquire(key: string, o: AcquireOptions): Promise<Acquired> {
    const name = this.#names.of(key)
    return this.#maps.step(async (map): Promise<Acquired | undefined> => {
      const { now, stored, slot, guards } = look(map, name)
      const seen = this.fingerprint(stored?.text)
      const running = slot?.kind === 'running' ? slot : undefined
      const isMine = running?.attempt === o.attempt

      if (seen !== o.seen && !o.force) {
        // Granted, its answer lost, then overwritten: leave no orphan.
        const leave = { guards: [guards.slot], write: () => void map.slots.remove(name) }
        return !isMine || (await this.#commit(map, leave)) ? { kind: 'changed' } : undefined
      }
      if (!isMine && !o.force) {
        if (running !== undefined && isHeld(running, now)) {
          const want = { guards: [guards.slot], write: () => map.putSlot(name, { ...running, isWanted: true }) }
          const isTold = running.isWanted || (await this.#commit(map, want))
          return isTold ? { kind: 'held', term: running.term, leftMs: leftOf(running, now), at: now } : undefined
        }
        if (slot?.kind === 'ended') {
          if (slot.term === o.heldIn) return { kind: 'ended', ending: slot.ending }
          const leftMs = slot.until - now
          if (slot.ending.kind === 'failed' && leftMs > 0 && !o.ignoreFailure) return { kind: 'failed', error: slot.ending.error, leftMs }
        }
      }
      // An heir has the term of the one before; force starts another, and fences what was running.
      const inherited = o.force && !isMine ? undefined : running
      const granted: Running = {
        kind: 'running',
        term: inherited?.term ?? this.#newTerm(o.attempt, now),
        attempt: o.attempt,
        owner,
        heldUntil: now + o.ttlMs,
        fails: inherited?.fails ?? 0,
        isWanted: inherited?.isWanted ?? false,
        deadAt: now + 4 * o.ttlMs,
      }
      const conditions = o.force ? [guards.slot] : [guards.value, guards.slot]
      if (!(await this.#commit(map, { guards: conditions, write: () => map.putSlot(name, granted) }))) return undefined
      const lease = { key, term: granted.term, attempt: o.attempt, seen }
      return { kind: 'granted', lease, createdAt: Math.max(now, Math.ceil(o.floor ?? 0)), fails: granted.fails }
    })
  }

  fulfill({ key, term }: Lease, text: string, o: { keepMs: number | null }): Promise<'stored' | 'refused' | 'foreign'> {
    const name = this.#names.of(key)
    return this.#maps.step(async (map): Promise<'stored' | 'refused' | undefined> => {
      await this.#sweeper.makeRoom(map, Buffer.byteLength(text))
      const { now, stored, slot, guards } = look(map, name)
      if (slot?.kind !== 'running' || slot.term !== term) return stored?.text === text ? 'stored' : 'refused'
      const isStored = await this.#commit(map, {
        guards: [guards.slot],
        write: () => {
          map.putStored(name, { text, until: endOf(o.keepMs, now), isMark: false })
          void map.slots.remove(name)
        },
        tell: [['stored', this.#names.path(key), term]],
      })
      if (!isStored) return undefined
      if (slot.isWanted) this.#feed.ring()
      return 'stored'
    })
  }

  settle({ key, term, attempt }: Lease, ending: Ending, o: SettleOptions): Promise<'again' | 'ended' | 'lost'> {
    const name = this.#names.of(key)
    const path = this.#names.path(key)
    return this.#maps.step(async (map): Promise<'again' | 'ended' | 'lost' | undefined> => {
      const { now, slot, guards } = look(map, name)
      const running = slot?.kind === 'running' && slot.term === term ? slot : undefined
      if (running?.attempt !== attempt) {
        // Not the holder any more: its outcome is still for those who were held in its term.
        const isOutcome = ending.kind === 'value' || ending.kind === 'nothing'
        if (isOutcome) await this.#commit(map, { tell: [toldOf(path, term, ending)] })
        else if (running === undefined) await this.#commit(map, { tell: [['again', path, term]] })
        this.#feed.ring()
        return 'lost'
      }

      const isWanted = running.isWanted || o.followers
      const isSecondChance = ending.kind === 'failed' && running.fails === 0 && isWanted
      if (isSecondChance || ending.kind === 'abandoned') {
        // Nobody's: a renewal that comes late must not take it back.
        const free: Running = { ...running, attempt: '', owner: '', heldUntil: 0, isWanted, fails: isSecondChance ? 1 : running.fails }
        const tell: Told[] = [['again', path, term]]
        if (!(await this.#commit(map, { guards: [guards.slot], write: () => map.putSlot(name, free), tell }))) return undefined
        if (running.isWanted) this.#feed.ring()
        return 'again'
      }

      const backoff = ending.kind === 'failed' ? o.backoffMs : 0
      const kept = Math.max(backoff, running.isWanted ? REMEMBER : 0)
      const ended: Slot = { kind: 'ended', term, ending, until: backoff > 0 ? now + backoff : 0, deadAt: now + kept }
      const isEnded = await this.#commit(map, {
        guards: [guards.slot],
        write: () => (kept > 0 ? map.putSlot(name, ended) : void map.slots.remove(name)),
        // Who waits, or was the holder before, wants to know; nobody else does.
        tell: running.isWanted || !term.startsWith(`${attempt}@`) ? [toldOf(path, term, ending)] : [],
      })
      if (!isEnded) return undefined
      if (running.isWanted) this.#feed.ring()
      return 'ended'
    })
  }

  renew(leases: readonly { lease: Lease; hold: boolean }[], ttlMs: number): Promise<boolean[]> {
    return Promise.all(
      leases.map(({ lease, hold }) => {
        const name = this.#names.of(lease.key)
        return this.#maps.step(async (map) => {
          const { now, slot, guards } = look(map, name)
          if (slot?.kind !== 'running' || slot.term !== lease.term) return false
          const held = hold ? { heldUntil: now + ttlMs } : { owner: '' } // nobody waits for it longer than this
          const renewed: Running = { ...slot, ...(slot.attempt === lease.attempt ? held : {}), deadAt: Math.max(slot.deadAt, now + 4 * ttlMs) }
          const isRenewed = await this.#commit(map, { guards: [guards.slot], write: () => map.putSlot(name, renewed) })
          return isRenewed ? true : undefined
        })
      })
    )
  }

  async invalidate(keys: readonly string[], how: 'delete' | 'expire', stale?: MakeStale): Promise<boolean[]> {
    const existed: boolean[] = []
    for (let at = 0; at < keys.length; at += CHUNK) {
      const chunk = keys.slice(at, at + CHUNK)
      existed.push(...(await (how === 'delete' ? this.#delete(chunk) : Promise.all(chunk.map((key) => this.expire(key, undefined, stale))))))
    }
    return existed
  }

  /** Makes one entry stale as of `staleAt` (epoch ms; default: just now), and ends the key's term. */
  expire(key: string, staleAt?: number, stale: MakeStale = staleEnvelope): Promise<boolean> {
    const name = this.#names.of(key)
    return this.#maps.step(async (map) => {
      const { now, stored, guards } = look(map, name)
      const text = stored && staleText(stored.text, staleAt ?? now - 100, stale)
      const isDone = await this.#commit(map, {
        guards: [guards.value],
        write: () => {
          void map.slots.remove(name)
          if (stored !== undefined && text !== undefined) map.putStored(name, { ...stored, text })
          else if (guards.value.version !== undefined) void map.values.remove(name)
        },
        tell: [['expired', this.#names.path(key), '']],
      })
      return isDone ? stored !== undefined : undefined
    })
  }

  /** Get and delete: of several who take at once, one gets the value. */
  async take(key: string): Promise<string | undefined> {
    const name = this.#names.of(key)
    const taken = await this.#maps.step(async (map) => {
      const { stored, guards } = look(map, name)
      const isTaken = await this.#commit(map, {
        guards: [guards.value],
        write: () => {
          void map.slots.remove(name)
          if (guards.value.version !== undefined) void map.values.remove(name)
        },
        tell: [['deleted', this.#names.path(key), '']],
      })
      return isTaken ? { text: stored?.text } : undefined
    })
    return taken.text
  }

  async put(key: string, text: string, keepMs: number | null): Promise<void> {
    const name = this.#names.of(key)
    await this.#maps.step(async (map) => {
      await this.#sweeper.makeRoom(map, Buffer.byteLength(text))
      return this.#commit(map, {
        write: () => {
          void map.slots.remove(name)
          map.putStored(name, { text, until: endOf(keepMs, Date.now()), isMark: false })
        },
        tell: [['put', this.#names.path(key), '']],
      })
    })
  }

  async mark(tagKeys: readonly string[], text: (time: number) => string): Promise<number> {
    let time = 0
    for (const key of tagKeys) {
      // Past an older mark in any case: the clock may have been set back.
      const old = this.#maps.read((map) => map.text(this.#names.of(key), Date.now()))
      time = Math.max(time, Date.now(), timeOf(old) + 1)
    }
    for (const key of tagKeys) await this.#mark(key, time, text(time))
    return time
  }

  /**
   * Leases first: one that was granted before must not store behind our back. Who is granted one
   * meanwhile reads what is true now, so it does not matter on which side of us its value comes.
   */
  async clear(path: string): Promise<void> {
    const range = this.#names.below(path)
    await this.#maps.step(async (map) => {
      for (const db of [map.slots, map.values]) {
        for (let start = range.start; ; ) {
          const names = map.look(() => Array.from(db.getKeys({ start, end: range.end, limit: CHUNK })))
          if (names.length > 0) await this.#commit(map, { write: () => names.forEach((name) => removeBoth(map, name)) })
          if (names.length < CHUNK) break
          start = names.at(-1)!
        }
      }
      return this.#commit(map, { tell: [['cleared', this.#names.clearing(path), '']] })
    })
  }

  watch(key: string): Watch {
    return this.#feed.watch(key)
  }

  offset(): number {
    return 0
  }

  isOutage(error: unknown): boolean {
    return error instanceof HostTrouble && error.isOutage
  }

  #delete(keys: readonly string[]): Promise<boolean[]> {
    const names = keys.map((key) => this.#names.of(key))
    return this.#maps.step(async (map) => {
      const now = Date.now()
      const wasThere = map.look(() => names.map((name) => isAlive(map.stored(name).stored, now)))
      let removed: Promise<boolean>[] = []
      await this.#commit(map, {
        write: () => {
          removed = names.map((name) => {
            void map.slots.remove(name)
            return map.values.remove(name, lmdb().IF_EXISTS)
          })
          removed.forEach(ignore)
        },
        tell: keys.map((key) => ['deleted', this.#names.path(key), '']),
      })
      // Of two who delete at once, one has deleted.
      return (await Promise.all(removed)).map((isRemoved, i) => isRemoved && wasThere[i]!)
    })
  }

  #mark(key: string, time: number, text: string): Promise<true> {
    const name = this.#names.of(key)
    return this.#maps.step(async (map) => {
      const { stored, guards } = look(map, name)
      // Another process was faster, with a later time: ours is in it.
      if (timeOf(stored?.text) >= time) return true
      const isMarked = await this.#commit(map, {
        guards: [guards.value],
        write: () => map.putStored(name, { text, until: Infinity, isMark: true }),
        tell: [['tagged', this.#names.path(key), '', time]],
      })
      return isMarked || undefined
    })
  }

  async #commit(map: HostMap, commit: Commit): Promise<boolean> {
    const isDone = await map.commit(commit)
    if (isDone && commit.tell !== undefined) this.#feed.told(commit.tell)
    this.#sweeper.wrote(map)
    return isDone
  }

  /** A term's name is never used again: what was computed in it must not be taken for another's. */
  #newTerm(attempt: string, now: number): string {
    return `${attempt}@${now}.${this.#terms++}`
  }
}

function look(map: HostMap, name: Buffer) {
  const now = Date.now()
  return map.look(() => {
    const { stored, guard: value } = map.stored(name)
    const { slot, guard } = map.slot(name, now)
    return { now, stored: isAlive(stored, now) ? stored : undefined, slot, guards: { value, slot: guard } }
  })
}

function isAlive(stored: Stored | undefined, now: number): stored is Stored {
  return stored !== undefined && now < stored.until
}

/**
 * Stopped is not dead: whoever was stopped holds until his time is over, and is fenced if he comes
 * late. Nor is late: whoever has no time to renew, for what he computes or for what others do, holds
 * as long as the slot counts.
 */
function isHeld(slot: Running, now: number): boolean {
  return now < slot.heldUntil ? !isGone(slot.owner) : isBusy(slot.owner)
}

function leftOf(slot: Running, now: number): number {
  return now < slot.heldUntil ? slot.heldUntil - now : LATE
}

function toldOf(path: string, term: string, ending: Ending): Told {
  switch (ending.kind) {
    case 'value':
      // A longer one is found in the slot, or, if that is another's, computed again.
      return ending.text.length <= INLINE ? ['value', path, term, ending.text] : ['value', path, term]
    case 'failed':
      return ['failed', path, term, ending.error]
    case 'nothing':
      return ['nothing', path, term]
    case 'abandoned':
      return ['again', path, term]
  }
}

/** undefined: no envelope that can be read, so it has to go instead. */
function staleText(text: string, staleAt: number, stale: MakeStale): string | undefined {
  if (TAIL.test(text.slice(-TAIL_LENGTH))) return `${text.slice(0, -14)}${String(Math.floor(staleAt)).padStart(13, '0')}}`
  return stale(text, staleAt)
}

function timeOf(mark: string | undefined): number {
  return Number(/"createdAt":(\d+)/.exec(mark ?? '')?.[1] ?? 0)
}

function removeBoth(map: HostMap, name: Buffer): void {
  void map.slots.remove(name)
  void map.values.remove(name)
}

/** Epoch ms, whole: what ends within this millisecond is still there. */
function endOf(keepMs: number | null, now: number): number {
  return keepMs === null ? Infinity : now + Math.max(1, Math.ceil(keepMs))
}
