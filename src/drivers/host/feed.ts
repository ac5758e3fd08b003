import { after, systemClock } from '../../base/clock.js'
import type { Feed, FeedEvent, FeedListener, Watch } from '../../base/contract.js'
import { Bell } from './bell.js'
import { eventOf } from './journal.js'
import type { Told } from './journal.js'
import type { HostMap } from './map.js'
import type { Maps } from './maps.js'
import type { Names } from './names.js'
import { isBusy, isGone, owner } from './owner.js'

/** How often whoever waits asks whether the holder still lives; to wake up costs a process up to 0.5 ms of CPU. */
const POLL = 40
/** Each so many times he asks thoroughly, and looks for himself: a ring may have been lost. */
const THOROUGHLY = 2
/** Where nothing rings, at the slowest. */
const PACE = 20

const GAP: FeedEvent = { kind: 'gap', key: '', term: '', own: false }

/**
 * What other processes did, read from their journals whenever somebody asks. Nothing runs by
 * itself: without a question there is no timer, and only who waits listens to the bell.
 */
export class HostFeed implements Feed {
  readonly #maps: Maps
  readonly #names: Names
  readonly #bell: Bell
  readonly #watches = new Map<string, Set<KeyWatch>>()
  readonly #waiting = new Set<KeyWatch>()
  #listener: FeedListener | undefined
  #map: HostMap | undefined
  /** The last page that was read, by process. */
  #read = new Map<string, number>()
  #stamp: string | undefined
  #era = ''
  #poll: ReturnType<typeof setTimeout> | undefined
  #polls = 0
  #waitingSince = 0
  #isClosed = false

  constructor(o: { maps: Maps; names: Names; bell: string }) {
    this.#maps = o.maps
    this.#names = o.names
    this.#bell = new Bell(o.bell, () => this.#lookAgain())
    this.#lookAgain()
  }

  open(o: { listener: FeedListener }): void {
    this.#listener ??= o.listener
  }

  /** Within this millisecond everything is known; in the next one somebody has to look again. */
  look(now: number): boolean {
    if (!this.#lookAgain()) return false
    this.#listener?.onVerified(now + 1)
    return true
  }

  watch(key: string): Watch {
    const watch: KeyWatch = new KeyWatch(key, {
      waits: () => this.#wait(watch),
      rests: () => this.#rest(watch),
      closed: () => {
        const watches = this.#watches.get(key)
        if (watches?.delete(watch) && watches.size === 0) this.#watches.delete(key)
      },
    })
    const watches = this.#watches.get(key)
    if (watches === undefined) this.#watches.set(key, new Set([watch]))
    else watches.add(watch)
    return watch
  }

  /** What this process itself has committed. */
  told(told: readonly Told[]): void {
    for (const one of told) this.#tell(one, true)
  }

  /** Wakes those who wait in other processes. */
  ring(): void {
    this.#bell.ring()
  }

  close(): void {
    this.#isClosed = true
    for (const watches of [...this.#watches.values()]) for (const watch of [...watches]) watch.close()
    clearTimeout(this.#poll)
    this.#bell.close()
  }

  /** false: nobody knows what happened. */
  #lookAgain(): boolean {
    try {
      this.#maps.read((map) => this.#catchUp(map))
      return true
    } catch {
      return false // logged where it was found
    }
  }

  #catchUp(map: HostMap): void {
    if (map !== this.#map) return this.#begin(map)
    const news: Told[] = []
    const isComplete = map.look(() => {
      const stamp = map.stamp()
      if (stamp === this.#stamp) return true
      if (map.era() !== this.#era) return false
      for (const { process, n } of map.lastPages()) {
        const read = this.#read.get(process) ?? 0
        if (n === read || process === map.process) continue
        if (map.floor(process) > read) return false
        for (const page of map.pages(process, read + 1, n)) news.push(...page.told)
        this.#read.set(process, n)
      }
      this.#stamp = stamp
      return true
    })
    if (!isComplete) return this.#begin(map)
    for (const told of news) this.#tell(told, false)
  }

  /** From here on: what was before, nobody can tell any more. */
  #begin(map: HostMap): void {
    const isFirst = this.#map === undefined
    if (map !== this.#map) this.#bell.renew()
    map.look(() => {
      this.#read = new Map(Array.from(map.lastPages(), ({ process, n }) => [process, n]))
      this.#stamp = map.stamp()
      this.#era = map.era()
    })
    this.#map = map
    if (!isFirst || this.#listener !== undefined) this.#hear(GAP)
  }

  #tell(told: Told, own: boolean): void {
    const [kind, path] = told
    const key = kind === 'cleared' ? this.#names.cleared(path) : this.#names.keyOf(path)
    if (key !== undefined) this.#hear(eventOf(told, key, own))
  }

  #hear(event: FeedEvent): void {
    this.#listener?.onEvent(event)
    if (event.kind !== 'gap' && event.kind !== 'cleared') {
      for (const watch of [...(this.#watches.get(event.key) ?? [])]) watch.push(event)
      return
    }
    const scope = event.key === '' ? '' : `${event.key}:`
    for (const [key, watches] of [...this.#watches]) {
      if (key.startsWith(scope)) for (const watch of [...watches]) watch.push(event)
    }
  }

  /** Listening begins before looking, or a ring in between would be missed. */
  #wait(watch: KeyWatch): void {
    if (this.#isClosed) return
    if (this.#waiting.size === 0) this.#waitingSince = Date.now()
    this.#waiting.add(watch)
    const isHeard = this.#bell.listen()
    this.#lookAgain()
    if (!this.#waiting.has(watch)) return
    watch.holder = this.#holderOf(watch)
    this.#poll ??= this.#pollSoon(isHeard)
    // Who waits for another process or thread has nothing of its own that would keep it from ending.
    if (isAnother(watch.holder)) this.#poll.ref()
  }

  #rest(watch: KeyWatch): void {
    this.#waiting.delete(watch)
    if (this.#waiting.size > 0) return
    clearTimeout(this.#poll)
    this.#poll = undefined
    this.#bell.rest()
  }

  /** Where nothing rings, the pace is 1 ms at first: the longer it took, the less another moment matters. */
  #pollSoon(isHeard: boolean): ReturnType<typeof setTimeout> {
    const pace = isHeard ? POLL : Math.min(PACE, Math.max(1, (Date.now() - this.#waitingSince) / 2))
    const poll = setTimeout(() => {
      this.#poll = undefined
      const isThorough = ++this.#polls % THOROUGHLY === 0
      if (isThorough || !isHeard) this.#lookAgain()
      this.#freeFromTheDead(isThorough)
      if (this.#waiting.size > 0) this.#poll ??= this.#pollSoon(this.#bell.listen())
    }, pace)
    if (![...this.#waiting].some(({ holder }) => isAnother(holder))) poll.unref()
    return poll
  }

  /** Nobody tells that he was killed. */
  #freeFromTheDead(isThorough: boolean): void {
    for (const watch of [...this.#waiting]) {
      const isKnown = watch.holder !== undefined
      if (isKnown ? !isOver(watch.holder, isThorough) : !isThorough) {
        watch.wasIdle = false
        continue
      }
      // Meanwhile it may have been renewed, or taken over.
      watch.holder = this.#holderOf(watch)
      const { key, term, holder, wasIdle } = watch
      if (holder === undefined || !isOver(holder, isThorough)) continue
      // Late, and not busy for a moment: it may be waiting for its own commit. It is asked once more.
      watch.wasIdle = true
      if (wasIdle || isGone(holder.owner, isThorough)) watch.push({ kind: 'again', key, term, own: false })
    }
  }

  #holderOf({ key, term }: KeyWatch): Holder | undefined {
    try {
      const name = this.#names.of(key)
      const slot = this.#maps.read((map) => map.look(() => map.slot(name, Date.now()).slot))
      return slot?.kind === 'running' && slot.term === term ? slot : undefined
    } catch {
      return undefined
    }
  }
}

/** Who computes in the term that is waited for. */
interface Holder {
  owner: string
  heldUntil: number
}

function isOver(holder: Holder | undefined, thoroughly: boolean): boolean {
  if (holder === undefined) return false
  return Date.now() < holder.heldUntil ? isGone(holder.owner, thoroughly) : !isBusy(holder.owner)
}

function isAnother(holder: Holder | undefined): boolean {
  return holder !== undefined && holder.owner !== owner
}

class KeyWatch implements Watch {
  readonly key: string
  /** The term that is waited for. */
  term = ''
  holder: Holder | undefined
  /** When it was asked last, the holder was late and not busy. */
  wasIdle = false
  readonly #o: { waits: () => void; rests: () => void; closed: () => void }
  readonly #events: FeedEvent[] = []
  #resolve: ((event: FeedEvent | 'timeout') => void) | undefined

  constructor(key: string, o: { waits: () => void; rests: () => void; closed: () => void }) {
    this.key = key
    this.#o = o
  }

  readonly push = (event: FeedEvent): void => {
    if (this.#resolve === undefined) this.#events.push(event)
    else this.#resolve(event)
  }

  next(term: string, timeoutMs: number): Promise<FeedEvent | 'timeout'> {
    const event = this.#events.shift()
    if (event !== undefined) return Promise.resolve(event)
    this.term = term
    this.wasIdle = false
    return new Promise((resolve) => {
      const stop = after(systemClock, timeoutMs, () => this.#resolve?.('timeout'))
      this.#resolve = (answer) => {
        this.#resolve = undefined
        stop()
        this.#o.rests()
        resolve(answer)
      }
      this.#o.waits()
    })
  }

  close(): void {
    this.#o.closed()
    this.#resolve?.('timeout')
  }
}
