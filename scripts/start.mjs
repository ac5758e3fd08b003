// `npm start`: installs and builds what is missing, then runs the demo.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HELP, readOptions, WrongArguments } from '../demo/options.mjs'
import { createProgress } from '../demo/progress.mjs'

const ROOT = join(import.meta.dirname, '..')

process.exitCode = await start(process.argv.slice(2))

async function start(args) {
  let options
  try {
    options = readOptions(args)
  } catch (error) {
    if (!(error instanceof WrongArguments)) throw error
    process.stderr.write(`${error.message}\nSee: npm start -- --help\n`)
    return 2
  }
  if (options.help) {
    process.stdout.write(HELP)
    return 0
  }
  const progress = createProgress(options.json ? process.stderr : process.stdout)
  const ready =
    (isInstalled() || (await npm(['ci', '--include=dev', '--no-audit', '--no-fund'], 'installing packages', progress))) &&
    (isBuilt() || (await npm(['run', 'build'], 'building', progress)))
  if (!ready) return 1
  const { run } = await import('../demo/main.mjs')
  return run(options, progress)
}

/** npm notes in `node_modules` what it installed; that must be what the lock asks for. */
function isInstalled() {
  const notes = join(ROOT, 'node_modules', '.package-lock.json')
  if (!existsSync(notes)) return false
  const installed = JSON.parse(readFileSync(notes, 'utf8')).packages
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || installed[path]?.version === version,
  )
}

function isBuilt() {
  const built = join(ROOT, 'dist', 'index.js')
  if (!existsSync(built)) return false
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true }).map((name) => join(ROOT, 'src', name))
  return Math.max(...sources.map((file) => statSync(file).mtimeMs)) <= statSync(built).mtimeMs
}

/** Runs npm, and shows what it said only if it failed. */
function npm(args, what, progress) {
  progress.stage(what)
  const began = performance.now()
  return new Promise((resolve) => {
    let said = ''
    const child = spawn('npm', args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32' })
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text))
    const fail = (reason) => {
      progress.stop()
      process.stderr.write(`${said}\nnpm ${args.join(' ')} failed (${reason}).\n`)
      resolve(false)
    }
    child.once('error', (error) => fail(error.message))
    child.once('close', (code) => {
      if (code !== 0) return fail(`exit code ${code}`)
      progress.done(`${what}: ${Math.round((performance.now() - began) / 1000)} s`)
      resolve(true)
    })
  })
}
