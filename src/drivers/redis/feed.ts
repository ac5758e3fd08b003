import { randomBytes } from 'node:crypto'
import { after } from '../../base/clock.js'
import type { Clock, Feed, FeedEvent, FeedListener, Logger, Watch } from '../../base/contract.js'
import { isNoPermission } from './client.js'
import { head, parseFrame } from '../frames.js'
import { Watches } from '../watches.js'
import type { Link } from './link.js'

/** A subscriber connection, or one of ours for commands, that is silent for so long is made anew. */
const SILENCE = 5_000

const GAP: FeedEvent = { kind: 'gap', key: '', term: '', own: false }

/**
 * What happened to the keys of one store, in Redis' own order, told by the scripts and pipelines
 * that did it. Verified again and again: a PONG on the connection that also brings the frames says
 * that everything published before the PING has been read.
 */
export class RedisFeed implements Feed {
  readonly #origin = randomBytes(8).toString('hex')
  readonly #link: Link
  readonly #scope: string
  readonly #clock: Clock
  readonly #log: Logger | undefined
  readonly #watches: Watches
  #listener: FeedListener | undefined
  #channel = ''
  #maxStaleness = 0
  #isStanding = false
  /** A right is missing: nothing can be heard, or what we do cannot be told. */
  #isForbidden = false
  readonly #warned = new Set<string>()
  #epoch = 0
  #pingSentAt: number | undefined
  #timeSentAt: number | undefined
  /** Recent differences between the server's clock and ours, and how long each question took. */
  readonly #samples: { offset: number; took: number }[] = []
  #stop: (() => void)[] = []

  /** `scope`: what tells values of one database, prefix and all, from those of any other. */
  constructor(o: { link: Link; scope: string; clock: Clock; log: Logger | undefined }) {
    this.#link = o.link
    this.#scope = o.scope
    this.#clock = o.clock
    this.#log = o.log
    this.#watches = new Watches({ clock: o.clock, hears: () => this.hears, fastestPoll: 1 })
  }

  open(o: { store: string; maxStalenessMs: number; listener: FeedListener }): void {
    if (this.#channel !== '') return
    this.#listener = o.listener
    this.#maxStaleness = o.maxStalenessMs
    // Pub/sub knows no databases and no prefixes, so the channel's name has to say them.
    this.#channel = `bentocache.notifications:${o.store}:flights:${this.#scope}`
    const unlisten = this.#link.subscriber.listen(this.#channel, {
      message: (message) => this.#heard(Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString()),
      standing: () => this.#stands(),
      lost: () => {
        this.#isStanding = false
        this.#epoch++
      },
      refused: (error) => this.#isRefused('subscribe to', error),
    })
    this.#stop.push(unlisten)
    void this.#measure()
    this.#verifyAgain()
  }

  /** Over a network nothing can be looked up at once. */
  look(): boolean {
    return false
  }

  /** What to publish on; `''` as long as the store has no name. */
  get channel(): string {
    return this.#channel
  }

  /** Whether events arrive by themselves. */
  get hears(): boolean {
    return this.#isStanding && !this.#isForbidden
  }

  get isForbidden(): boolean {
    return this.#isForbidden
  }

  /** Server's clock minus ours. */
  get offset(): number {
    return this.#samples.reduce((best, sample) => (sample.took < best.took ? sample : best), NO_SAMPLE).offset
  }

  /** Epoch ms on the server's clock. */
  serverNow(): number {
    return this.#clock.now() + this.offset
  }

  head(term: string, key: string): string {
    return head(this.#origin, term, key)
  }

  watch(key: string): Watch {
    return this.#watches.open(key)
  }

  /** A reply to PUBLISH. Without the right to tell, the others are assumed not to have it either. */
  published(reply: unknown): void {
    if (isNoPermission(reply)) this.#isRefused('publish to', reply)
  }

  close(): void {
    this.#isStanding = false
    this.#epoch++
    for (const stop of this.#stop.splice(0)) stop()
    this.#watches.close()
  }

  #stands(): void {
    this.#isStanding = true
    this.#isForbidden = false
    this.#epoch++
    this.#pingSentAt = undefined
    this.#tell(GAP)
    // Nobody else knows the letter: it only asks whether we may publish.
    this.#link.client.call(['publish', this.#channel, `H${this.head('', '')}`]).catch((error) => this.published(error))
    void this.#verify()
  }

  #isRefused(what: string, error: unknown): void {
    this.#isForbidden = true
    if (!this.#warned.has(what)) {
      this.#warned.add(what)
      this.#log?.warn(
        { err: error, channel: this.#channel },
        `no right to ${what} the channel: processes ask for news instead of hearing them, and L1 is as coherent as the bus keeps it`
      )
    }
    // L1 without a feed is what 1.6.1 has: nothing will ever verify it, so nothing waits for that.
    this.#listener?.onVerified(Infinity)
  }

  #heard(frame: string): void {
    const event = parseFrame(frame, this.#origin)
    if (event !== undefined) this.#tell(event)
  }

  #tell(event: FeedEvent): void {
    this.#listener?.onEvent(event)
    this.#watches.tell(event)
  }

  #verifyAgain(): void {
    const pause = Math.max(10, Math.min(this.#maxStaleness / 4, 2_500))
    const stop = after(this.#clock, pause, () => {
      this.#stop = this.#stop.filter((other) => other !== stop)
      if (this.hears) void this.#verify()
      void this.#measure()
      this.#verifyAgain()
    })
    this.#stop.push(stop)
  }

  async #verify(): Promise<void> {
    const sentAt = this.#clock.now()
    if (this.#pingSentAt !== undefined) {
      // Half-open: the other end is gone and nobody told us.
      if (sentAt - this.#pingSentAt > SILENCE) this.#link.subscriber.renew()
      return
    }
    const epoch = this.#epoch
    this.#pingSentAt = sentAt
    const isAnswered = await this.#link.subscriber.ping().then(
      () => true,
      () => false
    )
    // A connection made since has its own gap to tell and its own PING to send.
    if (epoch !== this.#epoch) return
    this.#pingSentAt = undefined
    if (isAnswered && this.hears) this.#listener?.onVerified(sentAt + this.#maxStaleness)
  }

  async #measure(): Promise<void> {
    const sentAt = this.#clock.now()
    if (this.#timeSentAt !== undefined) {
      if (sentAt - this.#timeSentAt > SILENCE) this.#link.client.renew()
      return
    }
    this.#timeSentAt = sentAt
    try {
      const [seconds, micros] = await this.#link.client.call(['time'])
      const took = this.#clock.now() - sentAt
      const server = Number(seconds) * 1_000 + Number(micros) / 1_000
      this.#samples.push({ offset: Math.round(server - sentAt - took / 2), took })
      if (this.#samples.length > 8) this.#samples.shift()
    } catch {
      // Away, or forbidden: the last offset stays.
    }
    this.#timeSentAt = undefined
  }
}

const NO_SAMPLE = { offset: 0, took: Infinity }
