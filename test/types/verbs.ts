import type { BentoCache, BentoStore } from '../../src/index.js'
import type { CacheProvider } from '../../src/types.js'
import { same } from './same.js'

interface Post {
  id: number
}
declare const bento: BentoCache<{ main: BentoStore }>
declare const view: CacheProvider
declare const load: () => Promise<Post>

// What a factory gives is what the caller gets, in both forms, from a BentoCache and from a view.
const gotten = bento.getOrSet('a', load, { ttl: '1h', tags: ['t'] })
same<typeof gotten, Promise<Post>>()
const object = view.getOrSet({ key: 'a', factory: load, ttl: 1000, forceFresh: true, shareFailures: 'off' })
same<typeof object, Promise<Post>>()
const forever = view.getOrSetForever({ key: 'a', factory: () => 1 as const })
same<typeof forever, Promise<1>>()

// Reading: nothing known is any, a type is that type, a default tells it.
const anything = bento.get({ key: 'a' })
same<typeof anything, Promise<any>>()
const text = bento.get<string>({ key: 'a' })
same<typeof text, Promise<string>>()
const inferred = bento.get({ key: 'a', defaultValue: 1 })
same<typeof inferred, Promise<number>>()
const positional = view.get<Post>('a')
same<typeof positional, Promise<Post | null | undefined>>()
const withDefault = view.get('a', () => 1)
same<typeof withDefault, Promise<number>>()
const pulled = view.pull<Post>('a')
same<typeof pulled, Promise<Post | null | undefined>>()

// The object form is the one that type tools see.
same<Parameters<CacheProvider['delete']>[0]['key'], string>()
same<Parameters<CacheProvider['deleteMany']>[0]['keys'], string[]>()
same<Parameters<CacheProvider['set']>[0]['value'], any>()

same<ReturnType<typeof view.namespace>, CacheProvider>()
same<ReturnType<typeof bento.disconnectAll>, Promise<void>>()

// @ts-expect-error there is no store of that name
bento.use('other')
// @ts-expect-error a key is text
void bento.getOrSet(1, load)
// @ts-expect-error without a factory there is nothing to set
void bento.getOrSet({ key: 'a' })
// @ts-expect-error what lasts for ever has no ttl
void bento.getOrSetForever({ key: 'a', factory: load, ttl: '1h' })
// @ts-expect-error tags are an array
void bento.set({ key: 'a', value: 1, tags: 't' })
// @ts-expect-error a duration is text or ms, not a switch
void bento.set('a', 1, { ttl: true })
// @ts-expect-error nothing is deleted by one tag as text
void bento.deleteByTag('t')
// @ts-expect-error reading has no factory
void bento.get({ key: 'a', factory: load })
