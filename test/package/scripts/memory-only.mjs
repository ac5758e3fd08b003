// Uses everything that needs no server, leaves work and timers behind, and disconnects nothing.
import assert from 'node:assert/strict'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { useEverything } from './use-everything.mjs'

const bento = new BentoCache({
  default: 'texts',
  grace: '6h',
  stores: {
    texts: bentostore({ ttl: '1h' }).useL1Layer(memoryDriver({ maxSize: '1mb', maxEntrySize: '10kb' })),
    references: bentostore().useL1Layer(memoryDriver({ serialize: false, maxItems: 10 })),
  },
})
await useEverything(bento.use('texts'))
await useEverything(bento.use('references'))
assert.equal(await bento.get({ key: 'gone' }), undefined)
console.log('done')
