import type { CacheBusMessage, Clock, Transport } from '../base/contract.js'
import type { InternalOperationWrapper } from '../base/options.js'
import { LATE, ignore, within } from '../base/promises.js'
import type { Observer } from '../observe/observer.js'
import { RetryQueue } from './retry-queue.js'
import type { RetryQueueOptions } from './retry-queue.js'

/** Processes with a feed begin their bus ids so: what they publish has been told by the feed already. */
export const FEED_ID_HEAD = 'bcfeed17'

export interface BusOptions {
  store: string
  transport: Transport
  retryQueue: RetryQueueOptions | undefined
  clock: Clock
  observer: Observer
  wrap: InternalOperationWrapper | undefined
  /** How long a verb waits for a message to be sent, ms. */
  timeout: number
  hasFeed: boolean
  /** What was heard; `isFed`: the sender has told it by the feed as well. */
  onMessage: (message: CacheBusMessage, isFed: boolean) => void
  /** The link was interrupted: messages may have been missed. */
  onGap: () => void
}

/** 1.6.1's messages between processes: one channel per store, all its namespaces. */
export class Bus {
  readonly #o: BusOptions
  readonly #channel: string
  readonly #queue: RetryQueue
  #stopSubscribing = false

  constructor(o: BusOptions) {
    this.#o = o
    this.#channel = o.store ? `bentocache.notifications:${o.store}` : 'bentocache.notifications'
    this.#queue = new RetryQueue({ clock: o.clock, send: (message) => this.#send(message), options: o.retryQueue })
    o.transport.setId(busId(o.hasFeed))
    o.transport.onReconnect(() => {
      o.onGap()
      void this.#queue.drain()
    })
    void this.#subscribe()
  }

  /** Never rejects: what cannot be sent is logged and kept for later. */
  async publish(message: CacheBusMessage): Promise<void> {
    if (this.#queue.size > 0) {
      // The bus is in trouble: in order behind the others, and no verb waits for it.
      this.#queue.add(message)
      void this.#queue.drain()
      return
    }
    try {
      await this.#send(message)
    } catch (error) {
      this.#o.observer.trouble('could not publish to the bus', error, { message })
      // A TypeError is final: such a message can never be encoded, and must not block later ones.
      if (!(error instanceof TypeError)) this.#queue.add(message)
    }
  }

  async disconnect(): Promise<void> {
    this.#stopSubscribing = true
    this.#queue.close()
    await this.#wrapped(() => this.#o.transport.disconnect())
  }

  async #send(message: CacheBusMessage): Promise<void> {
    const sent = this.#wrapped(() => this.#o.transport.publish(this.#channel, { ...message }))
    // A client may queue while its link is down: the verb must not wait for that.
    if ((await within(this.#o.clock, sent, this.#o.timeout)) === LATE) {
      ignore(sent)
      throw new Error(`The bus has not answered within ${this.#o.timeout} ms`)
    }
    this.#o.observer.published(message)
  }

  /** A bus that is away at the start is no reason to fail: it is subscribed to when it comes up. */
  async #subscribe(delay = 100): Promise<void> {
    const { transport, clock, observer } = this.#o
    try {
      await this.#wrapped(() => transport.subscribe(this.#channel, (payload, id) => this.#heard(payload, id)))
      observer.log?.trace?.({ channel: this.#channel }, 'subscribed to the bus')
      if (delay > 100) this.#o.onGap()
    } catch (error) {
      if (this.#stopSubscribing) return
      observer.trouble('could not subscribe to the bus', error, { retryIn: delay })
      clock.setTimeout(() => void (this.#stopSubscribing || this.#subscribe(Math.min(delay * 2, 2_000))), delay)
    }
  }

  #heard(payload: Record<string, unknown>, id: string | undefined): void {
    const message = payload as unknown as CacheBusMessage
    if (!Array.isArray(message?.keys) || typeof message.namespace !== 'string') return
    this.#o.observer.received(message)
    this.#o.onMessage(message, id?.startsWith(FEED_ID_HEAD) ?? false)
  }

  #wrapped<T>(operation: () => Promise<T>): Promise<T> {
    return this.#o.wrap === undefined ? operation() : this.#o.wrap(operation)
  }
}

/** 24 single-byte characters, as 1.6.1's peers expect. */
function busId(hasFeed: boolean): string {
  const head = hasFeed ? FEED_ID_HEAD : 'b'
  const bytes = crypto.getRandomValues(new Uint8Array(24 - head.length))
  return head + Array.from(bytes, (byte) => (byte % 36).toString(36)).join('')
}
