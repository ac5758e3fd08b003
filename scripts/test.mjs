// @ts-check
/**
 * `npm test`: on a fresh clone it installs, provisions and builds what is missing, then runs everything.
 * `npm run test:drivers -- redis`: the same, for the tests of drivers alone, or of those named so.
 */
import { parseArgs } from 'node:util'
import { check } from './check.mjs'
import { testNodes } from './node-matrix.mjs'
import { provision, testFiles } from './provision.mjs'
import { giveUp, install, node, run, step, sum, vitest } from './steps.mjs'

const { values, positionals } = parseArgs({ options: { drivers: { type: 'boolean', default: false } }, allowPositionals: true })

await install('.')
await install('bench')
if (values.drivers) await testDrivers(positionals)
else await testEverything()

async function testEverything() {
  await provision(testFiles(''))
  await build()
  process.env['SCHEDULES'] ??= '500' // ten times what the everyday check plays
  const { score: fast, broken } = await check()
  const real = await step('drivers, processes, compatibility, demo, package', () => vitest('real'))
  if (!(await step('bench gate', () => run('npm', ['run', '--silent', 'bench:gate'])))) broken.push('bench gate')
  const nodes = await testNodes()
  const { passed, failed } = sum(fast, real, nodes)
  conclude(passed, failed, broken)
}

/** @param {string[]} names */
async function testDrivers(names) {
  const starts = names.length === 0 ? ['drivers/'] : names.map((name) => `drivers/${name}`)
  await provision(starts.flatMap(testFiles))
  await build()
  const { passed, failed } = await step('drivers', () => vitest('real', { filters: starts.map((start) => `test/${start}`) }))
  conclude(passed, failed, [])
}

async function build() {
  if (!(await step('build', () => node('scripts/build.mjs')))) giveUp('The build failed: nothing else can be trusted.')
}

/**
 * The last line is for machines: a broken step that is no test counts as one failure.
 * @param {number} passed @param {number} failed @param {string[]} broken
 */
function conclude(passed, failed, broken) {
  if (broken.length > 0) console.error(`\nfailed: ${broken.join(', ')}`)
  const failures = failed + broken.length
  console.log(`\n${passed} passed, ${failures} failed`)
  process.exitCode = failures > 0 ? 1 : 0
}
