// One mode, from a cold start to its numbers: processes, connections, one moment, the count.
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createDatabase } from './database.mjs'
import { connectionsPerProcess } from './limits.mjs'
import { describe } from './modes.mjs'
import { Trouble } from './trouble.mjs'
import { plural } from './words.mjs'

const POST = {
  id: 1,
  title: 'Ten thousand readers, one query',
  body: 'Everybody wants this post at once, and the cache does not have it yet. '.repeat(8).trim(),
}

/** What the user's own shell may have set to something else. */
const UNSET = { REDIS_URL: '', HOST_DIRECTORY: '', CACHE_PREFIX: '', KILL_LEADER: '' }

/**
 * @param mode one of `MODES`
 * @param options what the command line said
 * @param environment tells the application its shared tier; empty without one
 * @param directory where the database file goes
 * @returns a row of the table: `failed` counts requests without a post, `cut` those of them whose
 * process died; `ms` is about the others
 */
export async function runMode(mode, options, environment, directory, progress) {
  const { processes } = describe(mode, options)
  const file = join(directory, `${mode}.db`)
  const database = createDatabase(file, POST)
  const started = []
  const start = (script, settings) => {
    const child = launch(script, settings)
    started.push(child)
    return child
  }
  try {
    progress.stage(`${mode}: starting ${plural(processes, 'process', 'processes')}`)
    const server = start('serve.mjs', {
      ...environment,
      MODE: mode,
      PROCESSES: processes,
      DATABASE_FILE: file,
      QUERY_MS: options.queryMs,
      ...(mode === 'fleet' && options.killLeader ? { KILL_LEADER: 1 } : {}),
    })
    const { port } = await news(server, ({ port }) => port !== undefined)

    progress.stage(`${mode}: opening ${plural(options.clients, 'connection', 'connections')}`)
    const groups = shares(options.clients).map((clients) =>
      start('clients.mjs', { PORT: port, CLIENTS: clients, POST: POST.id }),
    )
    const accepted = news(server, ({ accepted }) => {
      if (accepted !== undefined) progress.count(accepted, options.clients)
      return accepted === options.clients
    })
    await Promise.all([accepted, ...groups.map((group) => news(group, ({ ready }) => ready))])

    progress.stage(`${mode}: ${plural(options.clients, 'request', 'requests')} at once`)
    const counts = groups.map(() => 0)
    const answered = groups.map((group, n) =>
      news(group, ({ times, count }) => {
        counts[n] = times?.length ?? count
        progress.count(sum(counts, (count) => count), options.clients)
        return times !== undefined
      }),
    )
    for (const group of groups) group.send('fire', () => {})
    const answers = await Promise.all(answered)

    return {
      mode,
      processes,
      requests: options.clients,
      failed: sum(answers, ({ cut, failed }) => cut + failed),
      queries: database.countQueries(),
      ms: summary(answers.flatMap(({ times }) => times)),
      cut: sum(answers, ({ cut }) => cut),
    }
  } finally {
    await Promise.all(started.map(stop))
    database.close()
  }
}

/** So many client processes that neither a core nor a limit on open files is in the way. */
function shares(clients) {
  const wanted = Math.min(8, Math.max(4, availableParallelism()))
  const groups = Math.min(clients, Math.max(wanted, Math.ceil(clients / connectionsPerProcess())))
  return Array.from({ length: groups }, (_, n) => Math.floor((clients + n) / groups))
}

function launch(script, settings) {
  const child = fork(join(import.meta.dirname, script), {
    env: { ...process.env, ...UNSET, ...settings },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  child.complaints = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (child.complaints += text))
  return child
}

function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  return new Promise((resolve) => {
    child.once('exit', resolve)
    if (child.connected) child.disconnect() // they end when they are left alone
  })
}

/** The first message of a child that is what was waited for. */
function news(child, isIt) {
  return new Promise((resolve, reject) => {
    const fail = (reason) => reject(new Trouble(`${reason}\n${child.complaints}`.trim()))
    child.on('message', (message) => {
      if (message.trouble !== undefined) fail(message.trouble)
      else if (isIt(message)) resolve(message)
    })
    child.once('exit', (code, signal) => fail(`a process of the demo ended early (${signal ?? code})`))
  })
}

function sum(items, value) {
  return items.reduce((total, item) => total + value(item), 0)
}

function summary(times) {
  const sorted = times.sort((a, b) => a - b)
  const at = (share) => Math.round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0)
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}
