// The whole run: each mode in turn, then what it cost.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brokenPromise } from './modes.mjs'
import { drawPicture } from './picture.mjs'
import { runMode } from './run-mode.mjs'
import { openSharedTier } from './shared-tier.mjs'
import { terminalText } from './table.mjs'
import { Trouble } from './trouble.mjs'
import { number, plural } from './words.mjs'

/** @returns the exit code */
export async function run(options, progress) {
  const directory = temporaryDirectory()
  try {
    const { results, coordinator } = await runAll(options, directory, progress)
    const broken = results.map((result) => brokenPromise(result, options)).filter((text) => text !== undefined)
    if (options.json) {
      const { clients, queryMs } = options
      const modes = results.map(({ cut: _, ...shown }) => shown)
      process.stdout.write(`${JSON.stringify({ clients, queryMs, modes })}\n`)
      for (const text of broken) process.stderr.write(`BROKEN PROMISE  ${text}\n`)
    } else if (results.length > 0) {
      process.stdout.write(terminalText({ results, options, coordinator, broken }))
    }
    if (options.svg && results.length > 0) savePicture(options.svg, drawPicture(results, options))
    return broken.length === 0 && results.length > 0 ? 0 : 1
  } catch (error) {
    progress.stop()
    if (!(error instanceof Trouble)) throw error
    process.stderr.write(`${error.message}\n`)
    return 1
  }
}

async function runAll(options, directory, progress) {
  if (options.note) progress.done(`${number(options.clients)} clients instead of 10,000: ${options.note}`)
  const tier = options.modes.includes('fleet') ? await openSharedTier(options, directory) : {}
  if (tier.missing) progress.done(tier.missing)
  try {
    const results = []
    for (const mode of options.modes) {
      if (mode === 'fleet' && tier.missing) continue
      const environment = mode === 'fleet' ? tier.environment : {}
      results.push(await runMode(mode, options, environment, directory, progress))
      progress.done(briefly(results.at(-1)))
    }
    return { results, coordinator: tier.name }
  } finally {
    await tier.close?.()
  }
}

function briefly({ mode, queries, failed, ms }) {
  const failures = failed > 0 ? `, ${number(failed)} failed` : ''
  return `${mode}: ${plural(queries, 'query', 'queries')}, slowest request ${number(ms.max)} ms${failures}`
}

function savePicture(file, text) {
  try {
    writeFileSync(file, text)
  } catch (error) {
    throw new Trouble(`The picture could not be written: ${error.message}`)
  }
}

/** Gone when this process is, however that ends short of SIGKILL. */
function temporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'bentocache-demo-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
    process.once(signal, () => process.exit(code))
  }
  return directory
}
