import { CacheBusMessageType } from '../base/contract.js'
import type { CacheBusMessage, Feed, FeedEvent } from '../base/contract.js'
import { under } from '../base/keys.js'

/**
 * What becomes known of keys, from a verb of this process, the feed or the bus: one door for all.
 * News is never published again.
 */
export type News =
  | { kind: 'delete'; key: string }
  /** Stale from now on; grace keeps it. Also another process's write. */
  | { kind: 'expire'; key: string }
  /** This process's own write: what is under way must not undo it. */
  | { kind: 'write'; key: string }
  /** Another process's computation of `term` was stored: stale here, but no news to who waits for it. */
  | { kind: 'stored'; key: string; term: string }
  /** Everything under a namespace path. */
  | { kind: 'clear'; path: string }
  /** A tag was invalidated; `time` undefined: L2 knows when. */
  | { kind: 'tag'; key: string; time: number | undefined }
  /** Anything may have been missed: L1 is unconfirmed until L2 was asked. */
  | { kind: 'gap' }

/** Connects the driver's own ordered events with whoever keeps L1 and flights. */
export function followFeed(
  feed: Feed,
  o: { store: string; maxStalenessMs: number; onNews: (news: News) => void; onVerified: (until: number) => void }
): void {
  feed.open({
    store: o.store,
    maxStalenessMs: o.maxStalenessMs,
    listener: {
      onEvent: (event) => {
        const news = newsOf(event)
        if (news !== undefined) o.onNews(news)
      },
      onVerified: o.onVerified,
    },
  })
}

/** Own events have acted when they were sent; who waits for a term hears its end by its watch. */
function newsOf(event: FeedEvent): News | undefined {
  if (event.kind === 'gap') return { kind: 'gap' }
  if (event.own) return undefined
  switch (event.kind) {
    case 'stored':
      return { kind: 'stored', key: event.key, term: event.term }
    case 'put':
    case 'expired':
      return { kind: 'expire', key: event.key }
    case 'deleted':
      return { kind: 'delete', key: event.key }
    case 'cleared':
      return { kind: 'clear', path: event.key }
    case 'tagged':
      return { kind: 'tag', key: event.key, time: event.time }
    default:
      return undefined
  }
}

/** What a message of 1.6.1's bus says about this store, whichever of its namespaces are open here. */
export function newsOfMessage(message: CacheBusMessage, prefix: string, tagPrefix: string): News[] {
  const path = pathOf(message.namespace, prefix)
  if (path === undefined) return []
  if (message.type === CacheBusMessageType.Clear) return [{ kind: 'clear', path }]
  return message.keys.map((name): News => {
    const key = under(path, name)
    if (message.type === CacheBusMessageType.Delete) return { kind: 'delete', key }
    if (name.startsWith(tagPrefix)) return { kind: 'tag', key, time: undefined }
    return { kind: 'expire', key }
  })
}

function pathOf(namespace: string, prefix: string): string | undefined {
  if (namespace === prefix) return ''
  if (prefix === '') return namespace
  return namespace.startsWith(`${prefix}:`) ? namespace.slice(prefix.length + 1) : undefined
}
