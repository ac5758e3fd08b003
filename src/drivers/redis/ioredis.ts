import { createRequire } from 'node:module'
import { after, systemClock } from '../../base/clock.js'
import { LATE, ignore, within } from '../../base/promises.js'
import { refusalOf } from './client.js'
import type { Command, Primary, PubSubConnection, RedisClient } from './client.js'

/** A client of ioredis 5 or 6, of iovalkey, or of another copy of them; perhaps a Cluster. */
export interface Ioredis {
  status: string
  options: Record<string, any>
  on(event: any, listener: (...args: any[]) => void): unknown
  off(event: any, listener: (...args: any[]) => void): unknown
  duplicate(...args: any[]): any
  disconnect(reconnect?: boolean): void
  pipeline(...args: any[]): any
  isCluster?: boolean
}

/** The commands are methods, too many to name. */
type Methods = Ioredis & Record<string, (...args: any[]) => any>

export function isIoredis(candidate: object): candidate is Ioredis {
  const { duplicate, pipeline, disconnect, on, status, options } = candidate as Partial<Ioredis>
  const methods = [duplicate, pipeline, disconnect, on]
  return methods.every((method) => typeof method === 'function') && typeof status === 'string' && typeof options === 'object'
}

/** @throws when the package is not installed */
export function connectIoredis(options: object): Ioredis {
  let ioredis: { Redis: new (options: object) => Ioredis }
  try {
    // Only now, and in the same tick: whoever passes a client of their own needs no ioredis of ours.
    ioredis = createRequire(import.meta.url)('ioredis')
  } catch (cause) {
    throw new Error('The Redis driver connects through the package "ioredis": npm install ioredis', { cause })
  }
  return new ioredis.Redis(options)
}

export class IoredisClient implements RedisClient {
  readonly raw: Ioredis
  readonly keyPrefix: string
  readonly db: number
  readonly isCluster: boolean
  readonly #client: Methods
  readonly #isOurs: boolean
  readonly #subscriber: Ioredis | undefined

  constructor(client: Ioredis, o: { isOurs: boolean; subscriber?: Ioredis | undefined }) {
    this.raw = client
    this.#client = client as Methods
    this.#isOurs = o.isOurs
    this.#subscriber = o.subscriber
    this.keyPrefix = String(client.options['keyPrefix'] ?? '')
    this.isCluster = client.isCluster === true
    this.db = this.isCluster ? 0 : Number(client.options['db'] ?? 0)
    client.on('error', ignoreError)
  }

  get isReady(): boolean {
    return this.raw.status === 'ready' || this.raw.status === 'wait'
  }

  // By the method, not by `call`, which some versions get wrong when they pipeline by themselves.
  async call([name, ...args]: Command): Promise<any> {
    return this.#client[name]!(...args)
  }

  async pipeline(commands: readonly Command[]): Promise<any[]> {
    const pipeline = this.#client.pipeline()
    for (const [name, ...args] of commands) pipeline[name](...args)
    const results: [Error | null, unknown][] = await pipeline.exec()
    return results.map(([error, reply]) => {
      if (error !== null && refusalOf(error) === undefined) throw error
      return error ?? reply
    })
  }

  async get(key: string): Promise<string | null> {
    if (!this.isCluster || (this.raw.options['scaleReads'] ?? 'master') === 'master') return this.#client['get']!(key)
    // A pipeline goes where its first command goes, and PING is not one that replicas get.
    const [, text] = await this.pipeline([['ping'], ['get', key]])
    return text instanceof Error ? this.#client['get']!(key) : text
  }

  async primaries(): Promise<Primary[]> {
    if (!this.isCluster) return [new Node(this.#client, false)]
    await this.#client['ping']!() // the map of the Cluster is there once a command has gone through
    return this.#client['nodes']!('master').map((node: Methods) => new Node(node, true))
  }

  pubSub(): PubSubConnection {
    if (this.#subscriber !== undefined) return new PubSub(this.#subscriber as Methods, false)
    if (this.isCluster) return new ClusterPubSub(this.#client)
    const retryStrategy = (times: number) => Math.min(25 * 2 ** Math.min(times, 6), 1_000)
    return new PubSub(this.raw.duplicate({ ...PUB_SUB, retryStrategy }), true)
  }

  renew(): void {
    if (this.#isOurs && !this.isCluster && this.raw.status !== 'end') this.raw.disconnect(true)
  }

  async close(): Promise<void> {
    if (this.#isOurs) return end(this.#client)
    this.raw.off('error', ignoreError)
  }
}

class Node implements Primary {
  readonly #node: Methods
  readonly #isInCluster: boolean
  readonly #keyPrefix: string

  constructor(node: Methods, isInCluster: boolean) {
    this.#node = node
    this.#isInCluster = isInCluster
    this.#keyPrefix = String(node.options['keyPrefix'] ?? '')
  }

  scan(cursor: string, pattern: string): Promise<[string, string[]]> {
    return this.#node['scan']!(cursor, 'MATCH', pattern, 'COUNT', 1_000)
  }

  async unlink(names: string[]): Promise<void> {
    const keys = names.map((name) => name.slice(this.#keyPrefix.length)) // it comes on again by itself
    if (!this.#isInCluster) return this.#node['unlink']!(...keys)
    const pipeline = this.#node.pipeline()
    for (const key of keys) pipeline.unlink(key)
    for (const [error] of await pipeline.exec()) if (error !== null) throw error
  }
}

/**
 * What is different for pub/sub: it never gives up, it queues nothing, and channels are subscribed
 * anew by us, because only who waits for the confirmation knows where the gap ended.
 */
const PUB_SUB = {
  lazyConnect: true,
  autoResubscribe: false,
  enableOfflineQueue: false,
  enableAutoPipelining: false,
  maxRetriesPerRequest: 0,
  readOnly: false,
}

class PubSub implements PubSubConnection {
  readonly #connection: Methods
  readonly #isOurs: boolean
  #unlisten = () => {}

  constructor(connection: Methods, isOurs: boolean) {
    this.#connection = connection
    this.#isOurs = isOurs
  }

  open(on: { ready(): void; lost(): void; message(channel: string, message: Uint8Array): void }): void {
    const connection = this.#connection
    const message = (channel: Buffer, content: Buffer) => on.message(channel.toString(), content)
    const listeners = { error: ignoreError, ready: on.ready, close: on.lost, messageBuffer: message }
    for (const [event, listener] of Object.entries(listeners)) connection.on(event, listener)
    this.#unlisten = () => {
      for (const [event, listener] of Object.entries(listeners)) connection.off(event, listener)
    }
    if (connection.status === 'ready') on.ready()
    else if (connection.status === 'wait') ignore(connection['connect']!())
  }

  subscribe(channel: string): Promise<unknown> {
    return this.#connection['subscribe']!(channel)
  }

  unsubscribe(channel: string): Promise<unknown> {
    return this.#connection['unsubscribe']!(channel)
  }

  ping(): Promise<unknown> {
    return this.#connection['ping']!()
  }

  renew(): void {
    if (this.#isOurs && this.#connection.status !== 'end') this.#connection.disconnect(true)
  }

  async close(): Promise<void> {
    this.#unlisten()
    if (!this.#isOurs) return
    this.#connection.on('error', ignoreError)
    await end(this.#connection)
  }
}

/**
 * In a Cluster any node hears what is published on any other. The connection goes to one of them,
 * and to another when it ends: ioredis' own subscriber does so too, but does not say when.
 */
class ClusterPubSub implements PubSubConnection {
  readonly #cluster: Methods
  #node: PubSub | undefined
  #stopTrying = () => {}
  #isClosed = false

  constructor(cluster: Methods) {
    this.#cluster = cluster
  }

  open(on: { ready(): void; lost(): void; message(channel: string, message: Uint8Array): void }): void {
    const nodes: Ioredis[] = this.#cluster['nodes']!('all')
    const again = () => {
      if (!this.#isClosed) this.#stopTrying = after(systemClock, 100, () => this.open(on))
    }
    if (this.#cluster.status === 'wait') ignore(this.#cluster['connect']!())
    if (nodes.length === 0) return again()
    const node = nodes[Math.floor(Math.random() * nodes.length)]!
    const connection = node.duplicate({ ...PUB_SUB, retryStrategy: null })
    connection.on('end', () => (on.lost(), again()))
    this.#node = new PubSub(connection, true)
    this.#node.open(on)
  }

  async subscribe(channel: string): Promise<unknown> {
    return this.#node?.subscribe(channel)
  }

  async unsubscribe(channel: string): Promise<unknown> {
    return this.#node?.unsubscribe(channel)
  }

  async ping(): Promise<unknown> {
    if (this.#node === undefined) throw new Error('Not connected to any node')
    return this.#node.ping()
  }

  renew(): void {
    this.#node?.renew()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#stopTrying()
    await this.#node?.close()
  }
}

/** QUIT, so that what was sent is done; but a dead connection is not waited for. */
async function end(connection: Methods): Promise<void> {
  if (connection.status === 'end') return
  const ended = new Promise<void>((resolve) => connection.on('end', () => resolve()))
  if (connection.status === 'ready') {
    ignore(connection['quit']!())
    if ((await within(systemClock, ended, 500)) !== LATE) return
  }
  connection.disconnect()
  if (connection.status !== 'reconnecting') await within(systemClock, ended, 500)
}

/** ioredis prints errors that nobody listens to; here they come back as rejections. */
function ignoreError(): void {}
