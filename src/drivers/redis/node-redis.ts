import { after, systemClock } from '../../base/clock.js'
import { ignore } from '../../base/promises.js'
import { refusalOf } from './client.js'
import type { Command, Primary, PubSubConnection, RedisClient } from './client.js'

/** A connected client or cluster of the package `redis`, 5 or 6. */
export interface NodeRedis {
  isOpen: boolean
  isReady?: boolean
  on(event: any, listener: (...args: any[]) => void): unknown
  off(event: any, listener: (...args: any[]) => void): unknown
  sendCommand(...args: any[]): Promise<any>
  duplicate(...args: any[]): any
  options?: Record<string, any> | undefined
}

type Any = NodeRedis & Record<string, any>

export function isNodeRedis(candidate: object): candidate is NodeRedis {
  const { sendCommand, duplicate, on, isOpen } = candidate as Partial<NodeRedis>
  const methods = [sendCommand, duplicate, on]
  const isOneOrMany = 'isPubSubActive' in candidate || 'nodeClient' in candidate // not its sentinels
  return methods.every((method) => typeof method === 'function') && typeof isOpen === 'boolean' && isOneOrMany
}

/** Always the user's own: it has to be connected by them, and is never closed here. */
export class NodeRedisClient implements RedisClient {
  readonly raw: NodeRedis
  readonly keyPrefix: string
  readonly db: number
  readonly isCluster: boolean
  readonly #client: Any
  readonly #subscriber: Any | undefined

  constructor(client: NodeRedis, o: { subscriber?: NodeRedis | undefined }) {
    this.raw = client
    this.#client = client as Any
    this.#subscriber = o.subscriber as Any | undefined
    this.isCluster = 'nodeClient' in client
    const options = client.options ?? this.#client['_options'] ?? {}
    this.keyPrefix = String(options['keyPrefix'] ?? '')
    this.db = this.isCluster ? 0 : Number(options['database'] ?? 0)
    client.on('error', ignoreError)
  }

  get isReady(): boolean {
    return this.#client.isReady ?? this.#client.isOpen
  }

  async call(command: Command): Promise<any> {
    return this.#send(command, firstKey(command))
  }

  /** What is sent in one tick is written at once, in order. */
  async pipeline(commands: readonly Command[]): Promise<any[]> {
    const slot = commands.map(firstKey).find((key) => key !== undefined)
    const settled = await Promise.allSettled(commands.map((command) => this.#send(command, slot)))
    return settled.map((reply) => {
      if (reply.status === 'fulfilled') return reply.value
      if (refusalOf(reply.reason) === undefined) throw reply.reason
      return reply.reason
    })
  }

  async get(key: string): Promise<string | null> {
    return this.#send(['get', key], key)
  }

  async primaries(): Promise<Primary[]> {
    const nodes: Any[] = this.isCluster
      ? await Promise.all(this.#client['masters'].map((node: unknown) => this.#client['nodeClient'](node)))
      : [this.#client]
    return nodes.map((node) => ({
      async scan(cursor, pattern) {
        const [next, names] = await node.sendCommand(['SCAN', cursor, 'MATCH', pattern, 'COUNT', '1000'], PLAIN)
        return [String(next), names]
      },
      // One by one: in a Cluster they are of many slots.
      unlink: (names) => Promise.all(names.map((name) => node.sendCommand(['UNLINK', name], PLAIN))),
    }))
  }

  pubSub(): PubSubConnection {
    if (this.#subscriber !== undefined) return new NodeRedisPubSub(async () => this.#subscriber!, false)
    return new NodeRedisPubSub(async () => {
      const node: Any = this.isCluster ? await this.#client['nodeClient'](this.#client['getRandomNode']()) : this.#client
      return node.duplicate({ socket: { ...node.options?.['socket'], reconnectStrategy: false } })
    }, true)
  }

  renew(): void {}

  async close(): Promise<void> {
    this.raw.off('error', ignoreError)
  }

  // Sent raw: the library would have to know which arguments are keys, so we put its prefix there.
  #send(command: Command, slot: string | undefined): Promise<any> {
    const args = command.map((arg) => (typeof arg === 'object' ? Buffer.from(arg) : String(arg)))
    for (const at of keysOf(command)) args[at] = this.keyPrefix + args[at]
    if (!this.isCluster) return this.#client.sendCommand(args, PLAIN)
    // Never from a replica: what is read is promoted.
    return this.#client.sendCommand(slot === undefined ? undefined : this.keyPrefix + slot, false, args, PLAIN)
  }
}

/** Strings as strings, whatever the user's own commands are mapped to. */
const PLAIN = { typeMapping: {} }

/** A connection at a time; when one ends the next is made, in a Cluster to any node. */
class NodeRedisPubSub implements PubSubConnection {
  readonly #make: () => Promise<Any>
  readonly #isOurs: boolean
  #connection: Any | undefined
  #message: (channel: string, message: Uint8Array) => void = () => {}
  #drop = () => {}
  #stopTrying = () => {}
  #isClosed = false

  constructor(make: () => Promise<Any>, isOurs: boolean) {
    this.#make = make
    this.#isOurs = isOurs
  }

  open(on: { ready(): void; lost(): void; message(channel: string, message: Uint8Array): void }): void {
    this.#message = on.message
    const again = () => {
      if (!this.#isClosed && this.#isOurs) this.#stopTrying = after(systemClock, 100, () => this.open(on))
    }
    this.#make().then((connection) => {
      if (this.#isClosed) return
      let isLost = false
      const lost = () => {
        if (isLost) return
        isLost = this.#isOurs
        if (this.#isOurs) destroy(connection)
        on.lost()
        again()
      }
      const listeners = { error: lost, end: lost, ready: on.ready }
      for (const [event, listener] of Object.entries(listeners)) connection.on(event, listener)
      this.#drop = () => {
        for (const [event, listener] of Object.entries(listeners)) connection.off(event, listener)
        if (!this.#isOurs) return
        connection.on('error', ignoreError)
        destroy(connection)
      }
      this.#connection = connection
      if (connection.isReady) on.ready()
      else if (!connection.isOpen) ignore(connection['connect']())
    }, again)
  }

  async subscribe(channel: string): Promise<unknown> {
    return this.#connection!['subscribe'](channel, this.#hear, true)
  }

  async unsubscribe(channel: string): Promise<unknown> {
    return this.#connection!['unsubscribe'](channel, this.#hear, true)
  }

  async ping(): Promise<unknown> {
    return this.#connection!['ping']()
  }

  renew(): void {
    if (this.#isOurs && this.#connection?.isOpen) destroy(this.#connection)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#stopTrying()
    this.#drop()
  }

  readonly #hear = (message: Uint8Array, channel: unknown) => this.#message(String(channel), message)
}

/** Positions of a command's keys, among those that the driver sends. */
function keysOf([name, ...args]: Command): number[] {
  if (['time', 'publish', 'ping'].includes(name)) return []
  if (name === 'evalsha' || name === 'eval') return Array.from({ length: Number(args[1]) }, (_, i) => i + 3)
  if (name === 'unlink' || name === 'mget') return args.map((_, i) => i + 1)
  return [1]
}

function firstKey(command: Command): string | undefined {
  const [at] = keysOf(command)
  return at === undefined ? undefined : String(command[at])
}

function destroy(connection: Any): void {
  if (connection.isOpen) connection['destroy']()
}

/** Without a listener the library throws them at the process. */
function ignoreError(): void {}
