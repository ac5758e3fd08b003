import { after } from '../base/clock.js'
import type { CacheBusMessage, Clock } from '../base/contract.js'
import type { Duration } from '../base/duration.js'
import { E_INVALID_OPTION } from '../base/errors.js'
import { span } from '../base/settings.js'

export interface RetryQueueOptions {
  /** Default true. */
  enabled?: boolean
  /** Most messages kept; above it the oldest is dropped. Default: no bound. */
  maxSize?: number | null
  /** How often the queue is tried. Default 2 s; `false`: only when the transport has reconnected. */
  retryInterval?: Duration | false
}

/** Messages that could not be sent yet, in order, each of them once. */
export class RetryQueue {
  readonly #clock: Clock
  readonly #send: (message: CacheBusMessage) => Promise<void>
  readonly #isEnabled: boolean
  readonly #maxSize: number
  readonly #interval: number
  readonly #waiting = new Map<string, CacheBusMessage>()
  #isDraining = false
  #isClosed = false
  #stop: (() => void) | undefined

  /** `send` rejects while a message cannot be sent; a TypeError means it never can. */
  constructor(o: { clock: Clock; send: (message: CacheBusMessage) => Promise<void>; options: RetryQueueOptions | undefined }) {
    const { enabled, maxSize, retryInterval } = o.options ?? {}
    this.#clock = o.clock
    this.#send = o.send
    this.#isEnabled = enabled ?? true
    this.#maxSize = maxSize ?? Infinity
    if (!(this.#maxSize >= 1)) throw new E_INVALID_OPTION('retryQueue.maxSize', maxSize, 'a number from 1')
    this.#interval = retryInterval === false ? Infinity : span(retryInterval ?? 2_000, 'retryQueue.retryInterval', 2_000)
  }

  add(message: CacheBusMessage): void {
    if (!this.#isEnabled || this.#isClosed) return
    const id = JSON.stringify([message.type, message.namespace, message.keys])
    if (this.#waiting.has(id)) return
    if (this.#waiting.size >= this.#maxSize) this.#waiting.delete(this.#waiting.keys().next().value!)
    this.#waiting.set(id, message)
    this.#arm()
  }

  /** Sends what waits, in order, up to the first that fails. */
  async drain(): Promise<void> {
    if (this.#isDraining) return
    this.#isDraining = true
    try {
      for (const [id, message] of this.#waiting) {
        try {
          await this.#send(message)
        } catch (error) {
          if (!(error instanceof TypeError)) return
        }
        this.#waiting.delete(id)
      }
    } finally {
      this.#isDraining = false
      this.#arm()
    }
  }

  get size(): number {
    return this.#waiting.size
  }

  close(): void {
    this.#isClosed = true
    this.#stop?.()
    this.#stop = undefined
    this.#waiting.clear()
  }

  #arm(): void {
    if (this.#stop !== undefined || this.#waiting.size === 0) return
    this.#stop = after(this.#clock, this.#interval, () => {
      this.#stop = undefined
      void this.drain()
    })
  }
}
