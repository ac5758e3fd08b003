import type { GetSetFactory, GetSetFactoryContext } from '../../src/types.js'
import type { CacheProvider } from '../../src/types.js'
import { same } from './same.js'

declare const view: CacheProvider

// A factory may skip, fail, and change what is done with its result.
const maybe = view.getOrSet('a', (ctx) => (Math.random() > 0.5 ? ctx.skip() : 'text'))
same<typeof maybe, Promise<'text' | undefined>>()
void view.getOrSet({
  key: 'a',
  factory: ({ setTags, setOptions, setTtl, fail, gracedEntry }) => {
    setTags(['t'])
    setTtl('1h')
    setOptions({ ttl: null, grace: false, graceBackoff: 10, tags: [], skipL2Write: true, skipBusNotify: true })
    fail('no')
    return gracedEntry?.value as number
  },
})
const factory: GetSetFactory<number> = async (ctx) => (same<typeof ctx, GetSetFactoryContext>(), 1)
void view.getOrSetForever('a', factory)

// @ts-expect-error a value is no factory
void view.getOrSet('a', 1)
// @ts-expect-error a promise is no factory: it would run before anybody looked
void view.getOrSet('a', Promise.resolve(1))
// @ts-expect-error the key of a flight cannot be changed by its factory
void view.getOrSet('a', (ctx) => ctx.setOptions({ key: 'b' }))
