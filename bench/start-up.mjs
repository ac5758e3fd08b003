// What an import costs a process that starts, and what an installation brings along.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { summary } from './paired.mjs'
import { bar, fixed, heading, isMain, spread, table } from './report.mjs'

const HERE = fileURLToPath(new URL('.', import.meta.url))

/** Core and memory driver of each, as a program would import them. */
const imports = {
  'ours': ['../dist/index.js', '../dist/drivers/memory/memory.js'],
  'ours, with Redis': ['../dist/index.js', '../dist/drivers/memory/memory.js', '../dist/drivers/redis/redis.js'],
  'layered-loader': ['layered-loader/core'],
  '1.6.1': ['bentocache', 'bentocache/drivers/memory'],
  '1.6.1, with Redis': ['bentocache', 'bentocache/drivers/memory', 'bentocache/drivers/redis'],
}
const homes = { 'ours': '..', 'layered-loader': 'node_modules/layered-loader', '1.6.1': 'node_modules/bentocache' }

if (isMain(import.meta)) {
  heading('Start-up and size: core and memory driver')
  const added = startUp(11)
  const rows = [['contender', 'added to the start, ms', 'ms of the processor', 'kB min+gz', 'packages', 'kB installed']]
  const size = {}
  for (const name of Object.keys(imports)) {
    const installed = homes[name] === undefined ? undefined : packagesOf(homes[name])
    size[name] = await bundled(imports[name], name === 'ours')
    rows.push([name, spread(added[name].wall, 1), spread(added[name].cpu, 1), fixed(size[name] / 1000, 1), installed?.size ?? '', installed === undefined ? '' : fixed(kilobytes(installed))])
  }
  table(rows)
  console.log()
  const packages = packagesOf(homes.ours).size
  bar('min+gz of core and memory driver, with lru-cache', fixed(size.ours / 1000, 1), '≤ 15', size.ours <= 15_000, ' kB')
  bar('packages that an installation adds', packages, '≤ 2', packages <= 2)
  bar('added to the start, processor time', fixed(added.ours.cpu.median, 1), '≤ 15', added.ours.cpu.median <= 15, ' ms')
}

/** Whole processes, in turns; what each takes beyond the empty one of its round. */
function startUp(rounds) {
  const names = Object.keys(imports)
  const samples = Object.fromEntries(names.map((name) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    const empty = start([])
    for (const name of names) {
      const { wall, cpu } = start(imports[name])
      if (round >= 0) samples[name].push({ wall: wall - empty.wall, cpu: cpu - empty.cpu })
    }
  }
  const added = (name, field) => summary(samples[name].map((sample) => sample[field]))
  return Object.fromEntries(names.map((name) => [name, { wall: added(name, 'wall'), cpu: added(name, 'cpu') }]))
}

/** Milliseconds that a process takes which imports these and ends. */
function start(modules) {
  const lines = modules.map((module) => `import ${JSON.stringify(module)}`)
  const script = [...lines, 'const { user, system } = process.cpuUsage()', 'console.log((user + system) / 1000)'].join('\n')
  const start = performance.now()
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: HERE, encoding: 'utf8' })
  if (status !== 0) throw new Error(`importing ${modules.join(' and ')} failed: ${stderr}`)
  return { wall: performance.now() - start, cpu: Number(stdout) }
}

/** Bytes. Our core must not need a single module of Node. */
async function bundled(modules, isCore) {
  const contents = modules.map((module) => `export * from ${JSON.stringify(module)}`).join('\n')
  const result = await build({
    stdin: { contents, resolveDir: HERE },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: isCore ? 'browser' : 'node',
    external: ['ioredis'],
    write: false,
    logLevel: 'error',
  })
  return gzipSync(result.outputFiles[0].contents, { level: 9 }).length
}

/** Directories of the package and of everything it depends on, itself included. */
function packagesOf(home, found = new Set()) {
  const directory = join(HERE, home)
  const seen = found.size
  found.add(directory)
  if (found.size === seen) return found
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
  for (const name of Object.keys(manifest.dependencies ?? {})) {
    const above = createRequire(join(directory, 'package.json')).resolve.paths(name)
    const place = above.map((path) => join(path, name)).find((path) => statSync(join(path, 'package.json'), { throwIfNoEntry: false }))
    if (place === undefined) throw new Error(`${name} is not installed`)
    packagesOf(relative(HERE, place), found)
  }
  return found
}

/** What lies on the disk; of ours, what is published. */
function kilobytes(directories) {
  let bytes = 0
  for (const directory of directories) bytes += weigh(directory === join(HERE, '..') ? join(directory, 'dist') : directory)
  return bytes / 1000
}

function weigh(directory) {
  let bytes = 0
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.name === 'node_modules') continue
    const path = join(directory, entry.name)
    bytes += entry.isDirectory() ? weigh(path) : statSync(path).size
  }
  return bytes
}
