import type { Transport } from '../../base/contract.js'
import { openLink } from './link.js'
import type { Link } from './link.js'
import { decode, encode } from './wire-format.js'

/** Redis pub/sub with 1.6.1's bytes, on the subscriber connection that the driver's feed uses too. */
export class RedisTransport implements Transport {
  readonly #link: Link
  #id = ''
  #reconnected: (() => void) | undefined
  /** Channel → what stops listening to it. */
  readonly #channels = new Map<string, (() => void)[]>()

  /** @throws E_INVALID_OPTION naming `connection` */
  constructor(config: { connection: object; subscriber?: object | undefined }) {
    this.#link = openLink(config.connection, config.subscriber)
  }

  setId(id: string): this {
    this.#id = id
    return this
  }

  /** `callback` is called once a lost connection is back and subscribed again. */
  onReconnect(callback: () => void): void {
    this.#reconnected = callback
  }

  async publish(channel: string, message: Record<string, unknown>): Promise<void> {
    const bytes = encode(this.#id, message)
    // Queued by the client it would count as sent, and the retry queue would not know of it.
    if (this.#wasReady && !this.#link.client.isReady) throw new Error('Not connected: the message was not sent')
    await this.#link.client.call(['publish', channel, bytes])
    this.#wasReady = true
  }
  #wasReady = false

  /** Resolves once the server has confirmed; rejects when it does not allow it. */
  subscribe<T extends Record<string, unknown>>(channel: string, handler: (payload: T, busId?: string) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      let wasLost = false
      const unlisten = this.#link.subscriber.listen(channel, {
        message: (bytes) => {
          const message = decode(bytes)
          if (message === undefined || message.busId === this.#id) return
          handler(message.payload as unknown as T, message.busId)
        },
        standing: () => {
          resolve()
          if (wasLost) this.#reconnected?.()
          wasLost = false
        },
        lost: () => (wasLost = true),
        refused: (error) => {
          unlisten()
          reject(error)
        },
      })
      const stops = this.#channels.get(channel) ?? []
      this.#channels.set(channel, [...stops, unlisten, resolve])
    })
  }

  async unsubscribe(channel: string): Promise<void> {
    for (const stop of this.#channels.get(channel) ?? []) stop()
    this.#channels.delete(channel)
  }

  async disconnect(): Promise<void> {
    for (const channel of this.#channels.keys()) await this.unsubscribe(channel)
    await this.#link.release()
  }
}
