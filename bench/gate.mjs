// What must not get worse: bytes of a hit, bytes held per waiter, time of waiting. Exit code 1 when
// one of them has. Bytes are exact. Ratios of times have slack, because the machine may be noisy: one
// that misses its bar by less says SLACK and passes.
import { OURS, OWN, SHARED, SIZES, waits } from './coalescing.mjs'
import { GATED, hits } from './hit-path.mjs'
import { bar, fixed, heading } from './report.mjs'

heading('Gate')
const passed = []

const { figures, times } = await hits({ rounds: 5, ms: 30, only: GATED })
for (const name of ['ours by reference', 'ours by reference, object form']) {
  const { beyond } = figures[name]
  passed.push(bar(`bytes of a hit beyond the control, ${name}`, fixed(beyond), '≤ 64', beyond <= 64, ' B'))
}
console.log(`        namespaced: ${fixed(figures['ours by reference, namespaced'].beyond)} B`)
const hit = times('1.6.1 by reference', 'ours by reference').median
passed.push(bar('a hit by reference, beside 1.6.1', fixed(hit, 1), '≥ 12', hit >= 12, ' ×', hit >= 10))
const copy = times('1.6.1, a copy each (default)', 'ours, a copy each (default)').median
passed.push(bar('a hit with a copy, beside 1.6.1', fixed(copy, 1), '≥ 4', copy >= 4, ' ×', copy >= 3.5))

const waiting = await waits({ rounds: 3, only: [SHARED, OWN, OURS] })
const held = waiting.held(OURS).median - waiting.held(OWN).median
passed.push(bar('bytes held per waiter beyond its own promise', fixed(held), '≤ 100', held <= 100, ' B'))
// The fewer callers share the cost of the flight itself, the more slack.
for (const [i, slack] of [4, 3, 2.5].entries()) {
  const times = waiting.times(OURS, SIZES[i]).median
  passed.push(bar(`${fixed(SIZES[i])} waiting callers, beside one shared promise`, fixed(times, 2), '≤ 2', times <= 2, ' ×', times <= slack))
}

if (passed.includes(false)) process.exitCode = 1
