// @ts-check
/** The servers that tests start for themselves: which are missing, and installing them. */
import { accessSync, constants, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { ROOT, giveUp, run, step } from './steps.mjs'

/** Debian's package, the program it brings, where Debian puts it outside PATH, and who needs it. */
const SERVERS = [
  { debian: 'redis-server', program: 'redis-server', asked: /support\/redis/, places: [] },
  { debian: 'postgresql', program: 'postgres', asked: /startPostgres/, places: postgresPlaces() },
  { debian: 'pgbouncer', program: 'pgbouncer', asked: /startPgBouncer/, places: ['/usr/sbin'] },
  { debian: 'mariadb-server', program: 'mariadbd', asked: /startMariaDb/, places: ['/usr/sbin'] },
]

/**
 * Installs what these test files need and this machine lacks; where that cannot be done, says what to install.
 * @param {string[]} testFiles
 */
export async function provision(testFiles) {
  const texts = testFiles.map((file) => readFileSync(file, 'utf8'))
  const missing = SERVERS.filter(({ asked, program, places }) => texts.some((text) => asked.test(text)) && !isThere(program, places))
  if (missing.length === 0) return
  const packages = missing.map(({ debian }) => debian)
  if (process.getuid?.() !== 0 || !isThere('apt-get', [])) {
    giveUp(`The tests start private servers of ${packages.join(', ')}: install them (Debian: apt-get install ${packages.join(' ')}) and run this again.`)
  }
  if (!(await step(`apt-get install ${packages.join(' ')}`, () => install(packages)))) {
    giveUp(`apt-get could not install ${packages.join(', ')}: install them yourself and run this again.`)
  }
}

/** The tests of a folder of test/, or those of them whose path below test/ begins so. @param {string} start */
export function testFiles(start) {
  const directory = join(ROOT, 'test')
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  return files.filter((file) => file.startsWith(start) && file.endsWith('.test.ts')).map((file) => join(directory, file))
}

/** @param {string[]} packages */
async function install(packages) {
  return withoutServices(async () => {
    const apt = (/** @type {string[]} */ ...args) =>
      run('apt-get', ['-y', '-q', '-o', 'DPkg::Lock::Timeout=600', '-o', 'Dpkg::Use-Pty=0', ...args], { DEBIAN_FRONTEND: 'noninteractive' })
    const tryIt = () => apt('install', '--no-install-recommends', ...packages)
    return (await tryIt()) || ((await apt('update')) && (await tryIt())) // lists may be absent, or old
  })
}

/** Debian starts what it installs unless this file forbids it. @template T @param {() => Promise<T>} work */
async function withoutServices(work) {
  const policy = '/usr/sbin/policy-rc.d'
  if (existsSync(policy)) return work()
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    return await work()
  } finally {
    rmSync(policy)
  }
}

/** @param {string} program @param {string[]} places */
function isThere(program, places) {
  return [...(process.env.PATH ?? '').split(delimiter), ...places].some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function postgresPlaces() {
  const versions = '/usr/lib/postgresql'
  return existsSync(versions) ? readdirSync(versions).map((version) => join(versions, version, 'bin')) : []
}
