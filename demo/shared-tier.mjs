// Where the processes of the fleet meet: the Redis of --redis, else the host tier, else a
// redis-server of our own.
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { Trouble } from './trouble.mjs'

/**
 * @returns `{ name, environment, close() }`; or `{ missing }`, a sentence, when there is no place to meet
 * @throws Trouble when the Redis that was asked for does not answer
 */
export async function openSharedTier({ redis }, directory) {
  if (redis !== undefined) return givenRedis(redis)
  if (await hasHostTier()) {
    return { name: 'the host tier', environment: { HOST_DIRECTORY: join(directory, 'host') }, close: () => {} }
  }
  return (await privateRedis(directory)) ?? {
    missing: 'fleet is left out: it needs a place where processes meet. Install redis-server, or name one with --redis URL.',
  }
}

async function givenRedis(url) {
  const CACHE_PREFIX = `bentocache-demo-${process.pid}-${Date.now()}`
  const client = await connect(url)
  if (client === undefined) throw new Trouble(`No Redis answers at ${hidePassword(url)}.`)
  return {
    name: `Redis at ${hidePassword(url)}`,
    environment: { REDIS_URL: url, CACHE_PREFIX },
    async close() {
      await removeKeys(client, CACHE_PREFIX)
      client.disconnect()
    },
  }
}

async function privateRedis(directory) {
  const port = await freePort()
  const options = { port, bind: '127.0.0.1', dir: directory, save: '', appendonly: 'no' }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  const server = spawn('redis-server', args, { stdio: 'ignore' })
  const end = () => server.kill('SIGKILL')
  process.once('exit', end)

  const url = `redis://127.0.0.1:${port}`
  const gone = new Promise((resolve) => server.once('error', resolve).once('exit', resolve))
  const client = await Promise.race([connect(url), gone.then(() => undefined)])
  client?.disconnect()
  if (client === undefined) end()
  return client && { name: 'a private redis-server', environment: { REDIS_URL: url, CACHE_PREFIX: 'demo' }, close: end }
}

/** A connected client, or `undefined` when nobody answered for 3 seconds. */
async function connect(url) {
  const client = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null, connectTimeout: 3000 })
  client.on('error', () => {})
  const answer = await Promise.race([client.ping().catch(() => undefined), wait(3000, undefined, { ref: false })])
  if (answer === 'PONG') return client
  client.disconnect()
  return undefined
}

async function removeKeys(client, prefix) {
  for await (const keys of client.scanStream({ match: `*${prefix}*`, count: 1000 })) {
    if (keys.length > 0) await client.unlink(keys)
  }
}

/** The host tier stands on lmdb, which is a binary: not every platform has one. */
async function hasHostTier() {
  try {
    await import('lmdb')
    return true
  } catch {
    return false
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

function hidePassword(url) {
  const shown = new URL(url)
  if (shown.password !== '') shown.password = '***'
  return shown.href
}
