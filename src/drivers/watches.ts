import { after } from '../base/clock.js'
import type { Clock, FeedEvent, Watch } from '../base/contract.js'

/** Where nothing is heard, whoever waits looks again at this pace at the latest. */
const SLOWEST_POLL = 250

interface Hearing {
  clock: Clock
  /** Whether events arrive by themselves. */
  hears: () => boolean
  /** And if not, how soon to look again at first, in ms. */
  fastestPoll: number
}

/** Who waits for news of which key. Buffers from the moment a watch is opened. */
export class Watches {
  readonly #hearing: Hearing
  readonly #byKey = new Map<string, Set<KeyWatch>>()

  constructor(hearing: Hearing) {
    this.#hearing = hearing
  }

  open(key: string): Watch {
    const watches = this.#byKey.get(key) ?? new Set()
    this.#byKey.set(key, watches)
    const watch = new KeyWatch(this.#hearing, () => {
      if (watches.delete(watch) && watches.size === 0 && this.#byKey.get(key) === watches) this.#byKey.delete(key)
    })
    watches.add(watch)
    return watch
  }

  tell(event: FeedEvent): void {
    if (event.kind !== 'gap' && event.kind !== 'cleared') {
      for (const watch of this.#byKey.get(event.key) ?? []) watch.push(event)
      return
    }
    const scope = event.key === '' ? '' : `${event.key}:`
    for (const [key, watches] of this.#byKey) {
      if (key.startsWith(scope)) for (const watch of watches) watch.push(event)
    }
  }

  close(): void {
    for (const watches of this.#byKey.values()) for (const watch of watches) watch.close()
  }
}

class KeyWatch implements Watch {
  readonly #hearing: Hearing
  readonly #closed: () => void
  readonly #events: FeedEvent[] = []
  #resolve: ((event: FeedEvent | 'timeout') => void) | undefined
  #waitingSince: number | undefined

  constructor(hearing: Hearing, closed: () => void) {
    this.#hearing = hearing
    this.#closed = closed
  }

  push(event: FeedEvent): void {
    if (this.#resolve === undefined) this.#events.push(event)
    else this.#resolve(event)
  }

  next(_term: string, timeoutMs: number): Promise<FeedEvent | 'timeout'> {
    const event = this.#events.shift()
    if (event !== undefined) return Promise.resolve(event)
    const ms = this.#hearing.hears() ? timeoutMs : Math.min(timeoutMs, this.#pace())
    return new Promise((resolve) => {
      const stop = after(this.#hearing.clock, ms, () => this.#resolve?.('timeout'))
      this.#resolve = (settled) => {
        this.#resolve = undefined
        stop()
        resolve(settled)
      }
    })
  }

  close(): void {
    this.#closed()
    this.#resolve?.('timeout')
  }

  /** The longer it took already, the less another moment matters. */
  #pace(): number {
    const now = this.#hearing.clock.now()
    this.#waitingSince ??= now
    return Math.min(SLOWEST_POLL, Math.max(this.#hearing.fastestPoll, (now - this.#waitingSince) / 2))
  }
}
