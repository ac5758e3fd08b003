// All benches, or those that are named: `npm run bench -- hit-path l2`.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const ALL = ['hit-path', 'coalescing', 'l2', 'stampede', 'start-up']
const named = process.argv.slice(2)
const unknown = named.find((name) => !ALL.includes(name))
if (unknown !== undefined) {
  console.error(`There is no bench "${unknown}". There are: ${ALL.join(', ')}.`)
  process.exit(2)
}

for (const name of named.length > 0 ? named : ALL) {
  const script = fileURLToPath(new URL(`./${name}.mjs`, import.meta.url))
  const { status } = spawnSync(process.execPath, [script], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
