// What must not get worse: bytes of a hit, bytes held per waiter, time of waiting. Exit code 1 when
// one of them has. Bytes are exact; ratios of times have slack for a noisy machine.
import { OURS, OWN, SHARED, SIZES, waits } from './coalescing.mjs'
import { GATED, hits } from './hit-path.mjs'
import { bar, fixed, heading } from './report.mjs'

heading('Gate')
const checks = []
const gate = (name, value, limit, isMet, unit) => checks.push(bar(name, value, limit, isMet, unit))

const { figures, times } = await hits({ rounds: 5, ms: 30, only: GATED })
for (const name of ['ours by reference', 'ours by reference, object form']) {
  const beyond = figures[name].beyond
  gate(`bytes of a hit beyond the control, ${name}`, fixed(beyond), '≤ 64', beyond <= 64, ' B')
}
console.log(`        namespaced: ${fixed(figures['ours by reference, namespaced'].beyond)} B`)
const hit = times('1.6.1 by reference', 'ours by reference').median
gate('a hit by reference is faster than that of 1.6.1', fixed(hit, 1), '≥ 12, fails under 10', hit >= 10, ' ×')
const copy = times('1.6.1, a copy each (default)', 'ours, a copy each (default)').median
gate('a hit with a copy is faster than that of 1.6.1', fixed(copy, 1), '≥ 4, fails under 3.5', copy >= 3.5, ' ×')

const waiting = await waits({ rounds: 3, only: [SHARED, OWN, OURS] })
const held = waiting.held(OURS).median - waiting.held(OWN).median
gate('bytes held per waiter beyond its own promise', fixed(held), '≤ 100', held <= 100, ' B')
for (const callers of SIZES) {
  const times = waiting.times(OURS, callers).median
  gate(`${fixed(callers)} waiting callers, beside one shared promise`, fixed(times, 2), '≤ 2, fails above 2.5', times <= 2.5, ' ×')
}

if (checks.includes(false)) process.exitCode = 1
