import { describe, expect, test } from 'vitest'
import type { Feed, FeedEvent, FeedListener } from '../../../src/base/contract.js'
import { followFeed, newsOfMessage } from '../../../src/bus/coherence.js'
import type { News } from '../../../src/bus/coherence.js'

const TAG_PREFIX = '___bc:t:'

describe('a message of 1.6.1 means', () => {
  test.each([
    ['set', { kind: 'expire', key: 'k' }],
    ['expire', { kind: 'expire', key: 'k' }],
    ['delete', { kind: 'delete', key: 'k' }],
  ] as const)('%s: %j', (type, news) => {
    expect(newsOfMessage({ type, keys: ['k'], namespace: 'bentocache' }, 'bentocache', TAG_PREFIX)).toEqual([news])
  })

  test('the same of each of its keys', () => {
    expect(newsOfMessage({ type: 'delete', keys: ['a', 'b'], namespace: 'app' }, 'app', TAG_PREFIX)).toEqual([
      { kind: 'delete', key: 'a' },
      { kind: 'delete', key: 'b' },
    ])
  })

  test('that a tag has a new mark, which L2 knows, when its key is a mark\'s', () => {
    expect(newsOfMessage({ type: 'set', keys: ['___bc:t:news'], namespace: 'app' }, 'app', TAG_PREFIX)).toEqual([
      { kind: 'tag', key: '___bc:t:news', time: undefined },
    ])
    expect(newsOfMessage({ type: 'set', keys: ['___bc:t:news'], namespace: 'app:users' }, 'app', TAG_PREFIX)).toEqual([
      { kind: 'tag', key: 'users:___bc:t:news', time: undefined },
    ])
  })

  test('that everything below its namespace is gone, for a clear', () => {
    expect(newsOfMessage({ type: 'clear', keys: [], namespace: 'app' }, 'app', TAG_PREFIX)).toEqual([{ kind: 'clear', path: '' }])
    expect(newsOfMessage({ type: 'clear', keys: [], namespace: 'app:users' }, 'app', TAG_PREFIX)).toEqual([{ kind: 'clear', path: 'users' }])
  })

  test('[N1] its key in the namespace it names, whether or not that was opened here', () => {
    expect(newsOfMessage({ type: 'delete', keys: ['9'], namespace: 'app:users:admins' }, 'app', TAG_PREFIX)).toEqual([
      { kind: 'delete', key: 'users:admins:9' },
    ])
    expect(newsOfMessage({ type: 'delete', keys: ['9'], namespace: 'users' }, '', TAG_PREFIX)).toEqual([{ kind: 'delete', key: 'users:9' }])
    expect(newsOfMessage({ type: 'delete', keys: ['9'], namespace: '' }, '', TAG_PREFIX)).toEqual([{ kind: 'delete', key: '9' }])
  })

  test.each(['other', 'apple', 'ap', ''])('nothing when it speaks of another prefix: %j', (namespace) => {
    expect(newsOfMessage({ type: 'delete', keys: ['k'], namespace }, 'app', TAG_PREFIX)).toEqual([])
  })
})

describe('an event of the feed', () => {
  const follow = () => {
    const heard: News[] = []
    const verified: number[] = []
    let listener!: FeedListener
    let opened: unknown
    const feed: Feed = {
      open: (o) => {
        listener = o.listener
        opened = { store: o.store, maxStalenessMs: o.maxStalenessMs }
      },
      look: () => false,
    }
    followFeed(feed, { store: 'main', maxStalenessMs: 2_000, onNews: (news) => heard.push(news), onVerified: (until) => verified.push(until) })
    return { heard, verified, opened, listener }
  }
  const event = (kind: FeedEvent['kind'], o: Partial<FeedEvent> = {}): FeedEvent => ({ kind, key: 'k', term: '', own: false, ...o })

  test.each([
    [event('stored', { term: 't1' }), { kind: 'stored', key: 'k', term: 't1' }],
    [event('put'), { kind: 'expire', key: 'k' }],
    [event('expired'), { kind: 'expire', key: 'k' }],
    [event('deleted'), { kind: 'delete', key: 'k' }],
    [event('cleared', { key: 'users' }), { kind: 'clear', path: 'users' }],
    [event('tagged', { key: '___bc:t:a', time: 50 }), { kind: 'tag', key: '___bc:t:a', time: 50 }],
    [event('gap', { key: '' }), { kind: 'gap' }],
  ])('is news: %j', (told, news) => {
    const { heard, listener } = follow()
    listener.onEvent(told)
    expect(heard).toEqual([news])
  })

  test('of our own making is no news: it has acted when it was sent', () => {
    const { heard, listener } = follow()
    for (const kind of ['stored', 'put', 'expired', 'deleted', 'cleared', 'tagged'] as const) listener.onEvent(event(kind, { own: true }))
    expect(heard).toEqual([])
    listener.onEvent(event('gap', { own: true }))
    expect(heard).toEqual([{ kind: 'gap' }])
  })

  test.each(['value', 'nothing', 'failed', 'again'] as const)('that ends a term without a stored value (%s) concerns only who waits for it', (kind) => {
    const { heard, listener } = follow()
    listener.onEvent(event(kind, { term: 't1', text: '{}' }))
    expect(heard).toEqual([])
  })

  test('comes from a feed that was opened with the store\'s name and staleness; verification is handed on', () => {
    const { opened, listener, verified } = follow()
    expect(opened).toEqual({ store: 'main', maxStalenessMs: 2_000 })
    listener.onVerified(77)
    expect(verified).toEqual([77])
  })
})
