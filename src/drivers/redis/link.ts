import { isDeepStrictEqual } from 'node:util'
import { E_INVALID_OPTION } from '../../base/errors.js'
import type { RedisClient } from './client.js'
import { IoredisClient, connectIoredis, isIoredis } from './ioredis.js'
import { NodeRedisClient, isNodeRedis } from './node-redis.js'
import { Subscriber } from './subscriber.js'

/** One user's share of a connection to Redis and of the subscriber connection beside it. */
export interface Link {
  readonly client: RedisClient
  readonly subscriber: Subscriber
  /** The connections close with the last share. Idempotent. */
  release(): Promise<void>
}

interface Shared {
  connection: object
  client: RedisClient
  subscriber: Subscriber
  shares: number
}

/** What is open. Values, feed and bus of the same connection meet here: two sockets, not six. */
const open = new Set<Shared>()

/** @throws E_INVALID_OPTION */
export function openLink(connection: unknown, subscriber?: unknown): Link {
  checkConnection(connection)
  const shared = [...open].find((other) => isSame(other.connection, connection)) ?? connect(connection, subscriber)
  shared.shares++
  let released: Promise<void> | undefined
  return {
    client: shared.client,
    subscriber: shared.subscriber,
    release: () => (released ??= letGo(shared)),
  }
}

/** @throws E_INVALID_OPTION */
export function checkConnection(connection: unknown): asserts connection is object {
  if (typeof connection === 'object' && connection !== null) {
    if (isIoredis(connection) || isNodeRedis(connection)) return
    if ([Object.prototype, null].includes(Object.getPrototypeOf(connection))) return
  }
  throw new E_INVALID_OPTION('connection', connection, 'options of ioredis, or a client of ioredis, iovalkey or redis')
}

function connect(connection: object, subscriber: unknown): Shared {
  const client = clientOf(connection, subscriber)
  const shared = { connection, client, subscriber: new Subscriber(() => client.pubSub()), shares: 0 }
  open.add(shared)
  return shared
}

function clientOf(connection: object, subscriber: unknown): RedisClient {
  const given = typeof subscriber === 'object' && subscriber !== null ? subscriber : undefined
  if (isNodeRedis(connection)) {
    return new NodeRedisClient(connection, { subscriber: given && isNodeRedis(given) ? given : undefined })
  }
  const isOurs = !isIoredis(connection)
  const client = isOurs ? connectIoredis(connection) : connection
  return new IoredisClient(client, { isOurs, subscriber: given && isIoredis(given) ? given : undefined })
}

/** The same client, or options that say the same. */
function isSame(a: object, b: object): boolean {
  return a === b || (!isIoredis(a) && !isIoredis(b) && !isNodeRedis(a) && !isNodeRedis(b) && isDeepStrictEqual(a, b))
}

async function letGo(shared: Shared): Promise<void> {
  if (--shared.shares > 0) return
  open.delete(shared)
  await Promise.all([shared.subscriber.close(), shared.client.close()])
}
