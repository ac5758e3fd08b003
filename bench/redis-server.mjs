import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

/**
 * A private redis-server on a free port of the loopback, without persistence.
 * @throws Error when the program is missing
 */
export async function startRedis() {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'bentocache-bench-'))
  const server = spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--dir', directory, '--save', ''], { stdio: 'ignore' })
  const kill = () => {
    server.kill()
    rmSync(directory, { recursive: true, force: true })
  }
  process.once('exit', kill) // also when a bench fails
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))
  const ended = new Promise((resolve) => {
    server.once('exit', resolve)
    server.once('error', resolve)
  })
  const connection = { host: '127.0.0.1', port }
  const admin = new Redis({ ...connection, retryStrategy: () => 20, maxRetriesPerRequest: null })
  admin.on('error', () => {}) // refused until the server listens
  if ((await Promise.race([admin.ping(), ended])) !== 'PONG') {
    admin.disconnect()
    throw new Error('redis-server does not start; this bench needs the program (on Debian: apt-get install redis-server)')
  }
  return {
    connection,
    admin,
    async stop() {
      admin.disconnect()
      kill()
      process.off('exit', kill)
      await ended
    },
  }
}

/** Calls per command, as `INFO commandstats` counts them: also those that scripts make. */
export async function commandStats(admin) {
  const lines = (await admin.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)
  return Object.fromEntries(Array.from(lines, ([, name, calls]) => [name, Number(calls)]))
}

/** The commands that clients send while `run` runs, without the heartbeat of idle connections. */
export async function commandsOf({ admin, connection }, run) {
  const monitor = connect(connection)
  let text = ''
  monitor.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  monitor.write('MONITOR\r\n')
  const heard = async (line) => {
    while (!text.includes(line)) await once(monitor, 'data')
  }
  await heard('+OK')
  await run()
  await admin.echo(MARK)
  await heard(MARK)
  monitor.destroy()
  // A command that a script runs has "lua" in the place of its client.
  const names = Array.from(text.matchAll(/^\+[\d.]+ \[\d+ (?!lua)[^\]]+\] "([^"]+)"/gm), ([, name]) => name.toLowerCase())
  return names.filter((name) => !HEARTBEAT.has(name))
}

const MARK = 'that was all'
const HEARTBEAT = new Set(['ping', 'time', 'echo'])

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}
