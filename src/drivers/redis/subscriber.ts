import { ignore } from '../../base/promises.js'
import { refusalOf } from './client.js'
import type { PubSubConnection } from './client.js'

/** Who listens to a channel. Must not throw. */
export interface ChannelListener {
  message(message: Uint8Array): void
  /** The subscription is confirmed, at first or anew. What was published before may be missed. */
  standing(): void
  lost(): void
  /** The server does not allow it. */
  refused(error: unknown): void
}

interface Channel {
  listeners: Set<ChannelListener>
  isStanding: boolean
}

/** All channels of one connection, which is made when somebody first listens. */
export class Subscriber {
  readonly #make: () => PubSubConnection
  readonly #channels = new Map<string, Channel>()
  #connection: PubSubConnection | undefined
  #isUp = false
  /** Counts connections: a confirmation of an earlier one means nothing. */
  #epoch = 0

  constructor(make: () => PubSubConnection) {
    this.#make = make
  }

  /** @returns what takes the listener off */
  listen(name: string, listener: ChannelListener): () => void {
    const channel = this.#channels.get(name) ?? { listeners: new Set(), isStanding: false }
    channel.listeners.add(listener)
    if (!this.#channels.has(name)) {
      this.#channels.set(name, channel)
      if (this.#isUp) this.#subscribe(name, channel)
    } else if (channel.isStanding) {
      queueMicrotask(() => channel.isStanding && channel.listeners.has(listener) && listener.standing())
    }
    if (this.#connection === undefined) this.#open()
    return () => {
      if (!channel.listeners.delete(listener) || channel.listeners.size > 0) return
      this.#channels.delete(name)
      if (this.#isUp) ignore(this.#connection!.unsubscribe(name))
    }
  }

  /** Resolves when everything published before has been handed to the listeners. */
  async ping(): Promise<void> {
    if (!this.#isUp) throw new Error('Connection is closed')
    await this.#connection!.ping()
  }

  renew(): void {
    this.#connection?.renew()
  }

  async close(): Promise<void> {
    this.#isUp = false
    await this.#connection?.close()
  }

  #open(): void {
    this.#connection = this.#make()
    this.#connection.open({
      ready: () => {
        this.#isUp = true
        this.#epoch++
        for (const [name, channel] of this.#channels) this.#subscribe(name, channel)
      },
      lost: () => {
        if (!this.#isUp) return
        this.#isUp = false
        this.#epoch++
        for (const channel of this.#channels.values()) {
          channel.isStanding = false
          for (const listener of channel.listeners) listener.lost()
        }
      },
      message: (name, message) => {
        for (const listener of this.#channels.get(name)?.listeners ?? []) listener.message(message)
      },
    })
  }

  /** One by one: a channel that is forbidden must not take the others with it. */
  #subscribe(name: string, channel: Channel): void {
    const epoch = this.#epoch
    this.#connection!.subscribe(name).then(
      () => {
        if (epoch !== this.#epoch || this.#channels.get(name) !== channel) return
        channel.isStanding = true
        for (const listener of channel.listeners) listener.standing()
      },
      (error) => {
        if (epoch !== this.#epoch) return
        // No answer on a connection that stands, as with a `commandTimeout`: another may bring one.
        if (refusalOf(error) === undefined) return this.#connection!.renew()
        for (const listener of channel.listeners) listener.refused(error)
      }
    )
  }
}
