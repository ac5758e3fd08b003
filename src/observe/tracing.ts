import type { TracingChannel } from 'node:diagnostics_channel'

/**
 * One message per operation, the same object in all its phases. `key`/`keys` carry the store's
 * prefix and namespaces. `hit`, `tier`, `graced` are set before the operation ends.
 */
export interface CacheOperationMessage {
  operation: 'get' | 'set' | 'getOrSet' | 'factory' | 'delete' | 'deleteMany' | 'clear' | 'expire'
  key?: string
  keys?: string[]
  store: string
  hit?: boolean
  tier?: 'l1' | 'l2'
  graced?: boolean
}

type Channel = TracingChannel<unknown, CacheOperationMessage>

const NAME = 'bentocache.cache.operation'

/** `tracingChannels.cacheOperation`: Node's tracing channel; where there is none, one that stays silent. */
export const cacheOperation: Channel = channel()

/** Does anybody trace? */
export function isTraced(): boolean {
  return cacheOperation.hasSubscribers
}

/** Runs the operation, told to whoever traces. */
export function traced<T>(message: CacheOperationMessage, operation: () => Promise<T>): Promise<T> {
  return cacheOperation.hasSubscribers ? (cacheOperation.tracePromise(operation, message) as Promise<T>) : operation()
}

function channel(): Channel {
  const node = globalThis.process?.getBuiltinModule?.('node:diagnostics_channel')
  if (node !== undefined) return node.tracingChannel(NAME)
  const silent = { hasSubscribers: false, subscribe() {}, unsubscribe: () => false }
  return silent as unknown as Channel
}
