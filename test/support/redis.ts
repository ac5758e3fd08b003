import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'

const HOST = '127.0.0.1'

export interface StartOptions {
  /** A free port of the loopback unless given. */
  port?: number
  /** More arguments of redis-server, e.g. `['--maxmemory', '2mb']`. */
  args?: string[]
  /** `ACL SETUSER` lines, e.g. `'limited on >pw ~app:* &* +@all -eval'`; set again after a restart. */
  acl?: string[]
}

export interface RedisServer {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly pid: number
  /** SIGTERM, and the directory goes. Idempotent. */
  stop(): Promise<void>
  /** SIGKILL; `restart` brings it back on the same port. */
  kill(): Promise<void>
  /** Empty unless `empty: false`, which saves first and loads what was there. */
  restart(o?: { empty?: boolean }): Promise<void>
  /** SIGSTOP: connections stay open, nothing answers. */
  pause(): void
  /** SIGCONT */
  resume(): void
  /** An ioredis 5 client, closed with the server. */
  client(options?: RedisOptions): Redis
  /** Calls per command (lower case; subcommands as `config|get`) since `resetStats()`. */
  commandStats(): Promise<Record<string, number>>
  resetStats(): Promise<void>
  /** Connections of clients, the asking one not counted. */
  connections(): Promise<number>
}

/** A private redis-server on the loopback, in a directory of its own, without persistence. */
export async function startRedis(o: StartOptions = {}): Promise<RedisServer> {
  const port = o.port ?? (await freePort())
  const directory = mkdtempSync(join(tmpdir(), 'bentocache-redis-'))
  const args = ['--port', `${port}`, '--bind', HOST, '--dir', directory, '--save', '', '--appendonly', 'no']
  const clients = new Set<Redis>()
  let server = await launch([...args, ...(o.args ?? [])], port)
  let admin: Redis | undefined

  const ask = () => (admin ??= connect({ maxRetriesPerRequest: 1 }))
  const connect = (options: RedisOptions = {}) => {
    const client = new Redis({ host: HOST, port, retryStrategy: () => 50, ...options })
    client.on('error', () => {})
    return client
  }
  const setUsers = async () => {
    for (const line of o.acl ?? []) await ask().call('ACL', 'SETUSER', ...line.split(' '))
  }
  await setUsers()

  return {
    url: `redis://${HOST}:${port}`,
    host: HOST,
    port,
    get pid() {
      return server.pid!
    },
    async stop() {
      admin?.disconnect()
      for (const client of clients) client.disconnect()
      await end(server, 'SIGTERM')
      rmSync(directory, { recursive: true, force: true })
    },
    kill: () => end(server, 'SIGKILL'),
    async restart({ empty = true } = {}) {
      const dump = join(directory, 'dump.rdb')
      if (empty) rmSync(dump, { force: true })
      else await ask().call('SAVE')
      await end(server, 'SIGKILL')
      server = await launch([...args, ...(o.args ?? [])], port)
      await setUsers()
    },
    pause: () => void server.kill('SIGSTOP'),
    resume: () => void server.kill('SIGCONT'),
    client(options) {
      const client = connect(options)
      clients.add(client)
      return client
    },
    async commandStats() {
      const lines = (await ask().info('commandstats')).matchAll(/cmdstat_([^:]+):calls=(\d+)/g)
      return Object.fromEntries(Array.from(lines, ([, name, calls]) => [name!, Number(calls)]))
    },
    async resetStats() {
      await ask().config('RESETSTAT')
    },
    async connections() {
      const list = (await ask().client('LIST')) as string
      return list.trim().split('\n').length - 1
    },
  }
}

export interface RedisCluster {
  readonly nodes: { host: string; port: number }[]
  readonly servers: RedisServer[]
  readonly masters: RedisServer[]
  /** An ioredis 5 Cluster, closed with the servers. */
  client(options?: ConstructorParameters<typeof Cluster>[1]): Cluster
  stop(): Promise<void>
}

/** `size` nodes: the first half masters that share the slots, the others their replicas. */
export async function startCluster(size = 6): Promise<RedisCluster> {
  const servers: RedisServer[] = []
  for (let i = 0; i < size; i++) {
    const bus = await freePort()
    const args = ['--cluster-enabled', 'yes', '--cluster-port', `${bus}`, '--cluster-node-timeout', '2000']
    servers.push(await startRedis({ args: [...args, '--repl-diskless-sync-delay', '0'] }))
  }
  const count = Math.ceil(size / 2)
  const [masters, replicas] = [servers.slice(0, count), servers.slice(count)]
  const asked = servers.map((server) => server.client())
  const ids = await Promise.all(asked.map((client) => client.call('CLUSTER', 'MYID') as Promise<string>))

  for (const [i, client] of asked.entries()) await client.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
  for (const i of masters.keys()) {
    const [from, to] = [Math.floor((16384 * i) / count), Math.floor((16384 * (i + 1)) / count) - 1]
    await asked[i]!.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
  }
  const busPort = async (client: Redis) => ((await client.config('GET', 'cluster-port')) as string[])[1]!
  const first = servers[0]!
  const firstBus = await busPort(asked[0]!)
  for (const client of asked.slice(1)) await client.call('CLUSTER', 'MEET', first.host, first.port, firstBus)
  for (const [i, client] of asked.entries()) {
    await until(async () => ((await client.call('CLUSTER', 'NODES')) as string).trim().split('\n').length === size)
    if (i >= count) await until(() => client.call('CLUSTER', 'REPLICATE', ids[i - count]!).then(() => true))
  }
  for (const client of asked) {
    await until(async () => ((await client.call('CLUSTER', 'INFO')) as string).includes('cluster_state:ok'))
  }
  for (const client of asked.slice(count, count + replicas.length)) {
    await until(async () => (await client.info('replication')).includes('master_link_status:up'))
  }

  const clusters: Cluster[] = []
  const nodes = servers.map(({ host, port }) => ({ host, port }))
  return {
    nodes,
    servers,
    masters,
    client(options) {
      const cluster = new Cluster(nodes, options)
      cluster.on('error', () => {})
      clusters.push(cluster)
      return cluster
    },
    async stop() {
      for (const cluster of clusters) cluster.disconnect()
      await Promise.all(servers.map((server) => server.stop()))
    },
  }
}

export interface RedisSentinel {
  readonly sentinels: { host: string; port: number }[]
  readonly name: string
  readonly master: RedisServer
  readonly replica: RedisServer
  /** An ioredis 5 client that follows the master, closed with the servers. */
  client(options?: RedisOptions): Redis
  /** SIGKILLs the master; resolves once the sentinel has promoted the replica. */
  failover(): Promise<void>
  stop(): Promise<void>
}

/** A master, its replica and one sentinel that watches them (down after half a second). */
export async function startSentinel(): Promise<RedisSentinel> {
  const name = 'mymaster'
  const master = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] })
  const replica = await startRedis({ args: ['--replicaof', `${HOST} ${master.port}`] })
  const directory = mkdtempSync(join(tmpdir(), 'bentocache-sentinel-'))
  const port = await freePort()
  const lines = [
    `port ${port}`,
    `bind ${HOST}`,
    `dir ${directory}`,
    `sentinel monitor ${name} ${HOST} ${master.port} 1`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 5000`,
  ]
  const config = join(directory, 'sentinel.conf')
  writeFileSync(config, lines.join('\n') + '\n')
  const sentinel = await launch([config, '--sentinel'], port)
  const asked = new Redis({ host: HOST, port })
  asked.on('error', () => {})

  const link = replica.client()
  await until(async () => (await link.info('replication')).includes('master_link_status:up'))
  await until(async () => ((await asked.call('SENTINEL', 'REPLICAS', name)) as unknown[]).length === 1)
  // Just found: the sentinel has to have heard from the replica before it may promote it.
  await until(async () => {
    const [fields] = (await asked.call('SENTINEL', 'REPLICAS', name)) as string[][]
    return fields![fields!.indexOf('master-link-status') + 1] === 'ok'
  })

  const clients: Redis[] = []
  const sentinels = [{ host: HOST, port }]
  return {
    sentinels,
    name,
    master,
    replica,
    client(options) {
      const client = new Redis({ sentinels, name, ...options })
      client.on('error', () => {})
      clients.push(client)
      return client
    },
    async failover() {
      await master.kill()
      await until(async () => {
        const [, at] = (await asked.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)) as string[]
        return Number(at) === replica.port
      })
      await until(async () => (await link.info('replication')).includes('role:master'))
    },
    async stop() {
      asked.disconnect()
      for (const client of clients) client.disconnect()
      await end(sentinel, 'SIGTERM')
      await Promise.all([master.stop(), replica.stop()])
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Below those that the system gives to connections, so that it stays free until it is used, or used again. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const isFree = await new Promise((resolve) => {
      const server = createServer()
      server.once('error', () => resolve(false))
      server.listen(port, HOST, () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}

/** Asks again and again (an error counts as no) for `ms` at most. */
export async function until(holds: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
  const deadline = Date.now() + ms
  for (;;) {
    const isSo = await Promise.resolve()
      .then(holds)
      .catch(() => false)
    if (isSo) return
    if (Date.now() > deadline) throw new Error(`not so within ${ms} ms: ${holds}`)
    await sleep(10)
  }
}

const running = new Set<ChildProcess>()
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')))

async function launch(args: string[], port: number): Promise<ChildProcess> {
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout!.on('data', (chunk) => (output += chunk))
  child.stderr!.on('data', (chunk) => (output += chunk))
  const died = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`redis-server on port ${port} ended: ${output.slice(-500)}`)))
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  const probe = new Redis({ host: HOST, port, retryStrategy: () => 20, maxRetriesPerRequest: null })
  probe.on('error', () => {})
  try {
    await Promise.race([until(async () => (await probe.ping()) === 'PONG'), died])
  } finally {
    probe.disconnect()
  }
  died.catch(() => {}) // from here on its end is somebody's wish
  return child
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGCONT')
  child.kill(signal)
  const force = setTimeout(() => child.kill('SIGKILL'), 2_000)
  await ended
  clearTimeout(force)
}

/** Whether this machine has a redis-server at all. */
export const hasRedisServer = (process.env['PATH'] ?? '')
  .split(':')
  .some((directory) => existsSync(join(directory, 'redis-server')))
