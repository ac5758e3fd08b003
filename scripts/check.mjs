// @ts-check
/** `npm run check`: everything that needs no server, in under a minute. */
import { pathToFileURL } from 'node:url'
import { TSC, node, step, vitest } from './steps.mjs'

/** @returns {Promise<{ score: import('./steps.mjs').Score, broken: string[] }>} the tests; the other steps that failed */
export async function check() {
  const broken = []
  const remembering = ['--incremental', '--tsBuildInfoFile', 'node_modules/.cache/check.tsbuildinfo']
  if (!(await step('types', () => node(TSC, '--noEmit', '-p', '.', ...remembering)))) broken.push('types')
  if (!(await step('lint', () => node('node_modules/oxlint/bin/oxlint', '--quiet')))) broken.push('lint')
  if (!(await step('floors', () => node('scripts/floors.mjs')))) broken.push('floors')
  if (!(await step('surface', () => node('scripts/surface.mjs')))) broken.push('surface')
  if (!(await step('table of drivers', () => node('scripts/driver-table.mjs')))) broken.push('table of drivers')
  return { score: await step('unit and behaviour tests', () => vitest('fast*')), broken }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { score, broken } = await check()
  const failed = [...broken, ...(score.failed > 0 ? ['tests'] : [])]
  if (failed.length > 0) {
    console.error(`\nfailed: ${failed.join(', ')}`)
    process.exitCode = 1
  }
}
