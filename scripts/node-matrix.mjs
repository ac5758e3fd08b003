// @ts-check
/** `npm run test:nodes`: the unit and behaviour tests on the other versions of Node, from the npm package `node`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ROOT, run, step, sum, vitest } from './steps.mjs'

const VERSIONS = [22, 24]

/** @returns {Promise<import('./steps.mjs').Score>} */
export async function testNodes() {
  const scores = []
  for (const version of VERSIONS) {
    scores.push(await step(`unit and behaviour tests on Node ${version}`, () => testNode(version)))
  }
  return sum(...scores)
}

/** @param {number} version */
async function testNode(version) {
  const program = await nodeProgram(version)
  if (program !== undefined) return vitest('fast*', { node: program })
  console.error(`Node ${version} could not be installed from the npm package node`)
  return { passed: 0, failed: 1 }
}

/**
 * Another Node, installed if it is not there yet.
 * @param {number} version @returns {Promise<string | undefined>} undefined: it could not be installed
 */
export async function nodeProgram(version) {
  const directory = join(ROOT, 'node_modules/.cache/node', `${version}`)
  const program = join(directory, 'node_modules/node/bin/node')
  const args = ['install', '--prefix', directory, '--no-audit', '--no-fund', '--no-package-lock', `node@${version}`]
  if (!existsSync(program)) await run('npm', args)
  return existsSync(program) ? program : undefined
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { failed } = await testNodes()
  process.exitCode = failed > 0 ? 1 : 0
}
