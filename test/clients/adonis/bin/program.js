// Boots the application, does what its argument says, and prints what it saw as JSON; ends by itself.
import { ignitor } from '../ignitor.js'

const works = { verbs, seed, read }

const app = ignitor.createApp('web')
await app.init()
await app.boot()
const { default: cache } = await import('@adonisjs/cache/services/main')
let seen
await app.start(async () => {
  seen = await works[process.argv[2]]()
})
await app.terminate()
console.log(JSON.stringify(seen))

async function verbs() {
  const emitter = await app.container.make('emitter')
  const events = []
  for (const name of ['cache:written', 'cache:hit', 'cache:deleted', 'cache:cleared']) emitter.on(name, ({ store }) => events.push(`${store} ${name}`))
  const seen = {}
  for (const name of ['memory', 'redis', 'database']) seen[name] = await verbsOf(cache.use(name))
  return { stores: seen, events: [...new Set(events)].sort() }
}

async function verbsOf(store) {
  let runs = 0
  const load = async () => {
    runs++
    await new Promise((resolve) => setTimeout(resolve, 20))
    return { id: 1, name: 'Ada' }
  }
  await store.clear()
  const crowd = await Promise.all(Array.from({ length: 100 }, () => store.getOrSet({ key: 'user', factory: load, tags: ['users'] })))
  await store.set({ key: 'plain', value: 'text', ttl: '10m' })
  await store.setForever({ key: 'for ever', value: [1] })
  await store.namespace('posts').set({ key: '1', value: 'post' })
  const all = async () => [
    await store.get({ key: 'user' }),
    await store.get({ key: 'plain' }),
    await store.get({ key: 'for ever' }),
    await store.namespace('posts').get({ key: '1' }),
  ]
  const written = await all()
  await store.deleteByTag({ tags: ['users'] })
  const untagged = await all()
  await store.namespace('posts').clear()
  const deleted = [await store.delete({ key: 'plain' }), await store.delete({ key: 'plain' })]
  const pulled = [await store.pull('for ever'), await store.has({ key: 'for ever' })]
  const rest = await all()
  await store.set({ key: 'last', value: 1 })
  await store.clear()
  return { runs, crowd: new Set(crowd.map((user) => JSON.stringify(user))).size, written, untagged, deleted, pulled, rest, cleared: await store.missing({ key: 'last' }) }
}

async function seed() {
  for (const name of ['redis', 'database']) {
    const store = cache.use(name)
    await store.set({ key: 'kept', value: 'kept' })
    await store.set({ key: 'deleted', value: 'deleted' })
    await store.set({ key: 'tagged', value: 'tagged', tags: ['users'] })
    await store.namespace('posts').set({ key: '1', value: 'post' })
    await store.set({ key: 'short', value: 'short', ttl: 100 })
  }
  return read()
}

async function read() {
  const seen = {}
  for (const name of ['redis', 'database']) {
    const store = cache.use(name)
    const keys = ['kept', 'deleted', 'tagged', 'posts:1']
    const values = await Promise.all(keys.map((key) => store.get({ key })))
    seen[name] = keys.filter((_, i) => values[i] !== undefined)
  }
  return seen
}
