import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import mysql from 'mysql2/promise'
import pg from 'pg'

const HOST = '127.0.0.1'
const run = promisify(execFile)

export interface SqlServer {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly pid: number
  /** `postgres://…` or `mysql://…`, without a database. */
  readonly url: string
  /** An empty database of its own; resolves its name. */
  createDatabase(): Promise<string>
  /** One statement, in a connection of its own. */
  query(database: string, sql: string, parameters?: unknown[]): Promise<any[]>
  /** SIGSTOP: connections stay open, nothing answers. */
  pause(): void
  /** SIGCONT */
  resume(): void
  /** SIGKILL; `restart` brings it back on the same port with what it had. */
  kill(): Promise<void>
  restart(): Promise<void>
  /** And the directory goes. Idempotent. */
  stop(): Promise<void>
}

/** A private PostgreSQL on the loopback whose texts sort as people sort them, not by bytes. */
export async function startPostgres(o: { port?: number; args?: string[] } = {}): Promise<SqlServer> {
  const owner = ownerOf('postgres')
  const home = temporary('bentocache-postgres-', owner)
  const port = o.port ?? (await freePort())
  const data = join(home, 'data')
  const collation = ['--locale=C.UTF-8', '--locale-provider=icu', '--icu-locale=en-US']
  const init = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync', ...collation]
  await run(program('initdb'), init, { ...owner, env: { ...process.env, HOME: home } })

  const settings = ['fsync=off', 'full_page_writes=off', 'max_connections=200', `unix_socket_directories=${home}`]
  const args = ['-D', data, '-h', HOST, '-p', `${port}`, ...settings.flatMap((setting) => ['-c', setting]), ...(o.args ?? [])]
  const query = async (database: string, sql: string, parameters?: unknown[]) => {
    const client = new pg.Client({ host: HOST, port, user: 'postgres', database, connectionTimeoutMillis: 2_000 })
    client.on('error', () => {})
    await client.connect()
    return client.query(sql, parameters).then(({ rows }) => rows).finally(() => client.end())
  }
  const launch = () => launched(program('postgres'), args, { owner, home }, () => query('postgres', 'select 1'))
  // SIGINT: sessions are told to leave; SIGTERM would wait for them.
  return server({ port, home, user: 'postgres', scheme: 'postgres', quit: 'SIGINT', launch, query, root: 'postgres' })
}

/** A private MariaDB on the loopback. */
export async function startMariaDb(o: { port?: number; args?: string[] } = {}): Promise<SqlServer> {
  const owner = ownerOf('mysql')
  const home = temporary('bentocache-mariadb-', owner)
  const port = o.port ?? (await freePort())
  const data = join(home, 'data')
  const init = ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db']
  await run(program('mariadb-install-db'), init, { ...owner, env: { ...process.env, HOME: home } })

  const files = [`--datadir=${data}`, `--socket=${join(home, 'socket')}`, `--pid-file=${join(home, 'pid')}`]
  const charset = ['--character-set-server=utf8mb4', '--collation-server=utf8mb4_general_ci'] // as Debian has it
  const settings = [...charset, '--innodb-flush-log-at-trx-commit=2', '--innodb-buffer-pool-size=32M', '--skip-name-resolve']
  const args = ['--no-defaults', ...files, `--bind-address=${HOST}`, `--port=${port}`, ...settings, ...(o.args ?? [])]
  const query = async (database: string, sql: string, parameters: unknown[] = []) => {
    const client = await mysql.createConnection({ host: HOST, port, user: 'root', database, connectTimeout: 2_000 })
    client.on('error', () => {})
    return client.query(sql, parameters).then(([rows]) => rows as any[]).finally(() => client.end())
  }
  const launch = () => launched(program('mariadbd'), args, { owner, home }, () => query('', 'select 1'))
  return server({ port, home, user: 'root', scheme: 'mysql', quit: 'SIGTERM', launch, query, root: '' })
}

export interface Pooler {
  readonly port: number
  stop(): Promise<void>
}

/** A private PgBouncer in front of a PostgreSQL, in transaction mode, with few connections to share. */
export async function startPgBouncer(behind: SqlServer): Promise<Pooler> {
  const owner = ownerOf('postgres')
  const home = temporary('bentocache-pgbouncer-', owner)
  const port = await freePort()
  const settings = {
    listen_addr: HOST,
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: 'transaction',
    default_pool_size: 5,
    ignore_startup_parameters: 'extra_float_digits',
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  const config = join(home, 'pgbouncer.ini')
  writeFileSync(config, `[databases]\n* = host=${behind.host} port=${behind.port} user=${behind.user}\n[pgbouncer]\n${lines.join('\n')}\n`)
  const probe = async () => {
    const client = new pg.Client({ host: HOST, port, user: behind.user, database: 'postgres', connectionTimeoutMillis: 2_000 })
    client.on('error', () => {})
    await client.connect()
    return client.query('select 1').finally(() => client.end())
  }
  const child = await launched(program('pgbouncer'), [config], { owner, home }, probe)
  return {
    port,
    async stop() {
      await end(child, 'SIGINT')
      rmSync(home, { recursive: true, force: true })
    },
  }
}

interface Identity {
  uid?: number
  gid?: number
}

interface ServerOptions {
  port: number
  home: string
  user: string
  scheme: string
  quit: NodeJS.Signals
  launch: () => Promise<ChildProcess>
  query: SqlServer['query']
  /** A database to connect to while making others. */
  root: string
}

async function server(o: ServerOptions): Promise<SqlServer> {
  let child = await o.launch()
  let databases = 0
  return {
    host: HOST,
    port: o.port,
    user: o.user,
    url: `${o.scheme}://${o.user}@${HOST}:${o.port}`,
    get pid() {
      return child.pid!
    },
    async createDatabase() {
      const name = `cache_${++databases}`
      await o.query(o.root, `create database ${name}`)
      return name
    },
    query: o.query,
    pause: () => signal(familyOf(child), 'SIGSTOP'),
    resume: () => signal(familyOf(child), 'SIGCONT'),
    kill: () => strike(child),
    async restart() {
      await strike(child)
      child = await o.launch()
    },
    async stop() {
      await end(child, o.quit)
      rmSync(o.home, { recursive: true, force: true })
    },
  }
}

const running = new Set<ChildProcess>()
const homes = new Set<string>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  for (const home of homes) rmSync(home, { recursive: true, force: true, maxRetries: 5 })
})

async function launched(
  command: string,
  args: string[],
  { owner, home }: { owner: Identity; home: string },
  probe: () => Promise<unknown>
): Promise<ChildProcess> {
  const child = spawn(command, args, { ...owner, cwd: home, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output = (output + chunk).slice(-2_000)))
  running.add(child)
  child.once('exit', () => running.delete(child))
  const deadline = Date.now() + 30_000
  for (;;) {
    const answers = await probe().then(() => true, () => false)
    if (answers) return child
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${command} ended: ${output}`)
    if (Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`${command} did not come up: ${output}`)
    }
    await sleep(50)
  }
}

/** SIGKILL to all of it: a session of PostgreSQL outlives its parent by some milliseconds, and answers. */
async function strike(child: ChildProcess): Promise<void> {
  const family = familyOf(child)
  await end(child, 'SIGKILL')
  for (let tries = 0; tries < 100 && signal(family, 'SIGKILL'); tries++) await sleep(5)
}

/** The server first, then the processes of its sessions. */
function familyOf(child: ChildProcess): number[] {
  if (child.exitCode !== null || child.signalCode !== null) return []
  const listed = spawnSync('ps', ['-o', 'pid=', '--ppid', `${child.pid}`], { encoding: 'utf8' })
  return [child.pid!, ...listed.stdout.trim().split(/\s+/).filter(Boolean).map(Number)]
}

/** @returns whether any of them was there */
function signal(pids: number[], name: NodeJS.Signals): boolean {
  const reached = pids.filter((pid) => {
    try {
      return process.kill(pid, name)
    } catch {
      return false
    }
  })
  return reached.length > 0
}

async function end(child: ChildProcess, how: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  signal(familyOf(child), 'SIGCONT')
  child.kill(how)
  const force = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await ended
  clearTimeout(force)
}

/** Both servers refuse to run as root: root lends them the user their package made. */
function ownerOf(user: string): Identity {
  if (process.getuid?.() !== 0) return {}
  const id = (what: string) => Number(execFileSync('id', [what, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

function temporary(prefix: string, owner: Identity): string {
  const directory = mkdtempSync(join(tmpdir(), prefix))
  homes.add(directory)
  mkdirSync(join(directory, 'data'), { mode: 0o700 })
  for (const path of [directory, join(directory, 'data')]) {
    if (owner.uid !== undefined) chownSync(path, owner.uid, owner.gid!)
  }
  return directory
}

/** Debian keeps the programs of PostgreSQL, and daemons, out of the users' path. */
function program(name: string): string {
  const versions = '/usr/lib/postgresql'
  const postgres = existsSync(versions) ? readdirSync(versions).map((version) => join(versions, version, 'bin')) : []
  const places = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', ...postgres]
  const found = places.map((place) => join(place, name)).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`"${name}" is not installed (Debian: apt-get install postgresql mariadb-server pgbouncer)`)
  return found
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, HOST, () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })
}
