// @ts-check
/** Compiles src/ to dist/, from nothing, and puts it in place at once: whoever reads dist/ meanwhile sees one build. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, TSC, node } from './steps.mjs'

const dist = join(ROOT, 'dist')
const cache = join(ROOT, 'node_modules/.cache')
const [next, last] = ['next', 'last'].map((name) => join(cache, `dist-${name}-${process.pid}`))

mkdirSync(cache, { recursive: true })
const isSound = await node(TSC, '-p', 'tsconfig.build.json', '--outDir', next)
if (existsSync(next)) {
  if (existsSync(dist)) renameSync(dist, last)
  renameSync(next, dist)
  rmSync(last, { recursive: true, force: true })
}
process.exitCode = isSound ? 0 : 1
