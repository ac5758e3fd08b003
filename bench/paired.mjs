import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const LANE = fileURLToPath(new URL('./lane.mjs', import.meta.url))

/**
 * The new space at its full size from the start: where it grows and shrinks, each new page is the
 * kernel's work, and that is most of what would be measured. Compiler and garbage collector in the
 * thread they work for: their time counts, and does not depend on who else wants the processor.
 */
const SETTLED = ['--expose-gc', '--single-threaded', '--min-semi-space-size=16', '--max-semi-space-size=16']

/** For samples of bytes: no scavenge falls into one. */
export const LARGE_NEW_SPACE = ['--min-semi-space-size=64', '--max-semi-space-size=64']

/**
 * Measures contenders side by side: one process each, so that neither compiled code nor garbage of
 * one is another's, and one at a time in turns (A B C A B C …), so that a slow minute of the machine
 * is everybody's. The first `warmups` turns are discarded.
 *
 * `module` exports `contenders`: name → prepare(setup) → (order) → sample, an object of numbers.
 * @returns name → samples, one per round, in the order of the rounds
 */
export async function paired(module, { names, rounds, warmups = 2, orders = [{}], setup = {}, flags = [] }) {
  const lanes = []
  const samples = Object.fromEntries(names.map((name) => [name, []]))
  try {
    for (const name of names) lanes.push(await openLane(module, name, setup, flags))
    for (let round = -warmups; round < rounds; round++) {
      for (const order of orders) {
        for (const lane of lanes) {
          const sample = await lane.run({ ...order, round })
          if (round >= 0 && sample !== undefined) samples[lane.name].push({ ...order, ...sample })
        }
      }
    }
  } finally {
    for (const lane of lanes) await lane.close()
  }
  return samples
}

/**
 * Processor time of this process so far, in ms. On an idle machine it is the time on the wall, and
 * it does not grow when others want the processor.
 */
export function spent() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Median and quartiles. */
export function summary(values) {
  const sorted = [...values].sort((a, b) => a - b)
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) }
}

/** The ratio of two contenders, round by round: what they share of the machine's mood cancels out. */
export function ratio(above, below, field) {
  return summary(above.map((sample, i) => sample[field] / below[i][field]))
}

function quantile(sorted, q) {
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)]
  return low + (sorted[Math.ceil(at)] - low) * (at % 1)
}

async function openLane(module, name, setup, flags) {
  const child = fork(LANE, [module, name, JSON.stringify(setup)], { execArgv: [...SETTLED, ...flags] })
  const gone = new Promise((resolve) => child.once('exit', resolve))
  const answer = () =>
    new Promise((resolve, reject) => {
      const failed = (code) => reject(new Error(`the lane of "${name}" ended early (${code})`))
      child.once('exit', failed)
      child.once('message', (message) => {
        child.off('exit', failed)
        resolve(message.sample)
      })
    })
  await answer()
  return {
    name,
    run: (order) => {
      child.send(order)
      return answer()
    },
    close: () => {
      if (child.connected) child.disconnect()
      return gone
    },
  }
}
