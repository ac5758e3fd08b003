// The application: posts from a slow database, behind BentoCache. Everything else in this
// folder only sets the stage: serve.mjs runs this file in one or several processes.
import { createServer } from 'node:http'
import { BentoCache, bentostore } from 'bentocache'
import { hostDriver } from 'bentocache/drivers/host'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisDriver } from 'bentocache/drivers/redis'
import { getPostFromDb } from './database.mjs'

const { MODE, REDIS_URL, HOST_DIRECTORY, CACHE_PREFIX: prefix } = process.env

const posts = bentostore().useL1Layer(memoryDriver())
if (HOST_DIRECTORY) posts.useL2Layer(hostDriver({ directory: HOST_DIRECTORY }))
if (REDIS_URL) {
  const { Redis } = await import('ioredis') // the other modes need none of it
  posts.useL2Layer(redisDriver({ connection: new Redis(REDIS_URL), prefix }))
}

const bento = new BentoCache({ default: 'posts', stores: { posts } })

function findPost(id) {
  if (MODE === 'unprotected') return getPostFromDb(id)
  return bento.getOrSet(`post:${id}`, () => getPostFromDb(id), { ttl: '1h' })
}

export const server = createServer(async (request, response) => {
  const id = /^\/posts\/(\d+)$/.exec(request.url)?.[1]
  if (id === undefined) return response.writeHead(404).end()
  try {
    const post = await findPost(Number(id))
    response.setHeader('content-type', 'application/json').end(JSON.stringify(post))
  } catch (error) {
    response.writeHead(500).end(String(error))
  }
})
