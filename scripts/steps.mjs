// @ts-check
/** What the scripts share: running programs, keeping packages as the locks say, counting tests. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '..')

/** A program of node_modules that is plain JavaScript. */
export const TSC = 'node_modules/typescript/bin/tsc'
const VITEST = 'node_modules/vitest/vitest.mjs'

/** @typedef {{ passed: number, failed: number }} Score */

/**
 * Runs a program in the repository, its output ours.
 * @param {string} program @param {string[]} args @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<boolean>} whether it ended well
 */
export function run(program, args, env = {}) {
  return new Promise((done) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } })
    child.once('error', (error) => {
      console.error(`${program}: ${error.message}`)
      done(false)
    })
    child.once('exit', (code) => done(code === 0))
  })
}

/** Runs a script of ours or of node_modules with this Node. @param {string[]} args */
export function node(...args) {
  return run(process.execPath, args)
}

/**
 * A step of several: says its name before and its seconds after.
 * @template T @param {string} title @param {() => Promise<T>} work @returns {Promise<T>}
 */
export async function step(title, work) {
  console.log(`\n▸ ${title}`)
  const start = performance.now()
  try {
    return await work()
  } finally {
    console.log(`  ${title}: ${((performance.now() - start) / 1000).toFixed(1)} s`)
  }
}

/** Ends everything, with a sentence. @param {string} reason @returns {never} */
export function giveUp(reason) {
  console.error(`\n${reason}`)
  process.exit(1)
}

/** `npm ci` in a directory of the repository, unless its node_modules is what the lock says. @param {string} directory */
export async function install(directory) {
  if (isInstalled(join(ROOT, directory))) return
  const installed = await step(`npm ci in ${directory}`, () =>
    run('npm', ['ci', '--prefix', directory, '--include=dev', '--no-audit', '--no-fund'])
  )
  if (!installed) giveUp(`npm ci failed in ${directory}: its packages are needed.`)
}

/** By content, not by time: a fresh checkout of an old lock is not stale. @param {string} directory */
function isInstalled(directory) {
  const record = join(directory, 'node_modules/.package-lock.json')
  if (!existsSync(record)) return false
  const [wanted, present] = [join(directory, 'package-lock.json'), record].map((file) => JSON.parse(readFileSync(file, 'utf8')).packages)
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true
    const there = present[path]
    return there === undefined ? optional === true : there.version === version
  })
}

/**
 * Runs a project of vitest.config.ts.
 * @param {string} project
 * @param {{ filters?: string[], node?: string }} [o] filters: parts of file names; node: another Node
 * @returns {Promise<Score>} a file that could not be run, or an error outside tests, is a failure too
 */
export async function vitest(project, { filters = [], node: program = process.execPath } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'bentocache-vitest-'))
  const report = join(directory, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const isGreen = await run(program, [VITEST, 'run', '--project', project, ...reporters, ...filters])
  const score = existsSync(report) ? count(JSON.parse(readFileSync(report, 'utf8'))) : { passed: 0, failed: 0 }
  rmSync(directory, { recursive: true })
  return isGreen ? score : { ...score, failed: Math.max(1, score.failed) }
}

/** @param {{ numPassedTests: number, numFailedTests: number, testResults: { status: string, assertionResults: unknown[] }[] }} report */
function count({ numPassedTests, numFailedTests, testResults }) {
  const unrun = testResults.filter(({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0)
  return { passed: numPassedTests, failed: numFailedTests + unrun.length }
}

/** @param {Score[]} scores @returns {Score} */
export function sum(...scores) {
  return scores.reduce((a, b) => ({ passed: a.passed + b.passed, failed: a.failed + b.failed }), { passed: 0, failed: 0 })
}
