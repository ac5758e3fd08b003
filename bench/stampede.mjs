// N callers in each of M processes ask for one cold key at the same time: how often its factory
// (50 ms, 2 kB) runs, how long after its end the last caller is answered, what it costs.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { summary } from './paired.mjs'
import { commandsOf, startRedis } from './redis-server.mjs'
import { bar, fixed, heading, isMain, load, spread, table } from './report.mjs'

const WORKER = fileURLToPath(new URL('./stampede-worker.mjs', import.meta.url))
/** The variants that share processes; the one whose CPU is compared has its own, as its rival has. */
const OURS = ['ours, leases, by reference', 'ours, leases: false', 'ours, host', 'ours, host, by reference']
const SHAPES = [
  { processes: 10, callers: 1000, warmups: 5, rivals: ['layered-loader', '1.6.1'] },
  // Ninety idle processes of rivals would be measured, too. The compiler sees a tenth of the calls in each round.
  { processes: 30, callers: 100, warmups: 25, rivals: [] },
]

/**
 * @returns per variant: rounds of { runs, behind, answeredMs, cpuMs }; `pair`: those of two variants while
 * nobody else has a turn; of copies: ms; commands of one round
 */
export async function stampede({ processes, callers, rivals, warmups, rounds = 9 }) {
  const redis = await startRedis()
  const directory = mkdtempSync(join(tmpdir(), 'bentocache-bench-')) // for the host tier
  const crews = []
  const crewOf = {}
  const enlist = async (size, names) => {
    const crew = await openCrew(size)
    crews.push(crew)
    await crew.all({ what: 'open', names, connection: redis.connection, directory })
    return crew
  }
  try {
    for (const name of ['ours, leases', ...rivals]) crewOf[name] = { crew: await enlist(processes, [name]), callers }
    const own = await enlist(processes, OURS)
    for (const name of OURS) crewOf[name] = { crew: own, callers }
    const alone = await enlist(1, ['ours, leases'])
    crewOf['ours, one process'] = { crew: alone, callers: callers * processes, as: 'ours, leases' }

    let turn = 0
    /** Stampedes in turns (A B A B …); the first `warmups` rounds are discarded. */
    const play = async (names, warmups, endRound = () => {}) => {
      const rows = Object.fromEntries(names.map((name) => [name, []]))
      for (let round = -warmups; round < rounds; round++) {
        for (const name of names) {
          const { crew, callers, as = name } = crewOf[name]
          const row = await crew.stampede({ what: 'stampede', name: as, key: `${name}:${turn++}`, callers })
          if (round >= 0) rows[name].push(row)
        }
        await endRound(round)
      }
      return rows
    }

    const copies = []
    const rows = await play(Object.keys(crewOf), warmups, async (round) => {
      const { answeredMs } = await own.stampede({ what: 'copy', callers })
      if (round >= 0) copies.push(answeredMs)
    })
    // What rests for seconds has given memory back to the machine and pays for that, so these two take turns.
    const pair = await play(['ours, leases', 'ours, one process'], 3)

    const commands = {}
    for (const name of ['ours, leases', 'ours, leases: false', ...rivals]) {
      const counted = () => crewOf[name].crew.stampede({ what: 'stampede', name, key: `${name}:counted`, callers })
      commands[name] = await commandsOf(redis, counted)
    }
    return { rows, pair, copies, commands }
  } finally {
    await Promise.all(crews.map((crew) => crew.close()))
    await redis.stop()
    rmSync(directory, { recursive: true })
  }
}

if (isMain(import.meta)) {
  for (const shape of SHAPES) {
    heading(`A stampede: ${shape.processes} processes × ${fixed(shape.callers)} callers, one cold key, 50 ms factory, 2 kB`)
    print(await stampede(shape))
    console.log(`load ${load()}`)
  }
}

function print({ rows, pair, copies, commands }) {
  const of = (name, field, from = rows) => summary(from[name].map((row) => row[field]))
  table([
    ['variant', 'runs', 'last answer behind the factory, ms', 'after the start, ms', 'CPU of all, ms', 'commands'],
    ...Object.keys(rows).map((name) => [
      name,
      `${of(name, 'runs').median} (≤ ${Math.max(...rows[name].map(({ runs }) => runs))})`,
      spread(of(name, 'behind'), 1),
      spread(of(name, 'answeredMs'), 1),
      spread(of(name, 'cpuMs')),
      commands[name]?.length ?? '',
    ]),
  ])
  const copyMs = summary(copies)
  console.log(`only a copy for each caller (JSON.parse): ${spread(copyMs, 1)} ms\n`)

  const limit = 30 + 1.5 * copyMs.median
  for (const [name, most] of Object.entries({ 'leases': limit, 'leases, by reference': 30, 'host': limit, 'host, by reference': 30 })) {
    const runs = Math.max(...rows[`ours, ${name}`].map((row) => row.runs))
    bar(`${name}: runs, worst round`, runs, 1, runs === 1)
    const behind = of(`ours, ${name}`, 'behind').median
    bar(`${name}: last answer behind the factory`, fixed(behind, 1), `≤ ${fixed(most, 1)}`, behind <= most, ' ms')
  }
  const [all, one] = ['ours, leases', 'ours, one process'].map((name) => of(name, 'cpuMs', pair))
  const above = all.median - one.median
  console.log(`        leases, in turn with one process: CPU ${spread(all)} ms, of the one process ${spread(one)} ms`)
  bar('leases: CPU above one process doing the same', fixed(above), '≤ 60', above <= 60, ' ms')
  const sent = commands['ours, leases']
  console.log(`        leases: commands of all processes: ${sent.length} (bar: ≤ 35 with 10 processes)`)
  console.log(`        ${tally(sent)}`)
}

function tally(names) {
  const counts = new Map()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return Array.from(counts, ([name, count]) => `${count} ${name}`).join(', ')
}

async function openCrew(size) {
  const members = []
  for (let i = 0; i < size; i++) members.push(fork(WORKER, { execArgv: ['--expose-gc'] }))
  const answerOf = (member) =>
    new Promise((resolve, reject) => {
      const failed = (code) => reject(new Error(`a process of the stampede ended early (${code})`))
      member.once('exit', failed)
      member.once('message', ({ answer }) => {
        member.off('exit', failed)
        resolve(answer)
      })
    })
  await Promise.all(members.map(answerOf))
  const all = (order) => {
    const answers = Promise.all(members.map(answerOf))
    for (const member of members) member.send(order)
    return answers
  }
  return {
    all,
    /** All at the same moment, which is far enough away for everyone to have heard of it. */
    async stampede(order) {
      await all({ what: 'ready' })
      const at = Number(process.hrtime.bigint()) / 1e6 + 30 + members.length
      const answers = await all({ ...order, at })
      const last = Math.max(...answers.map(({ answered }) => answered))
      const runs = answers.flatMap(({ runs = [] }) => runs)
      return {
        runs: runs.length,
        behind: last - Math.min(...runs),
        answeredMs: last - at,
        cpuMs: answers.reduce((sum, { cpuMs = 0 }) => sum + cpuMs, 0),
      }
    },
    close: () =>
      Promise.all(
        members.map((member) => {
          if (member.exitCode !== null || member.signalCode !== null) return
          const gone = new Promise((resolve) => member.once('exit', resolve))
          if (member.connected) member.disconnect()
          else member.kill()
          return gone
        })
      ),
  }
}
