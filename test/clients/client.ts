import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT, pack } from '../package/packed.js'

const exec = promisify(execFile)

/** Programs of other people, as npm installs them, with this repository's package in place of npm's bentocache. */
export interface Client {
  readonly directory: string
  /** Where each bentocache of the tree is, and which version. */
  readonly bentocaches: { path: string; version: string }[]
  /** Runs a file of the client, killed after a minute; `output` is all it said. */
  run(args: string[], env?: NodeJS.ProcessEnv): Promise<{ code: number; stdout: string; output: string }>
}

/**
 * A folder of test/clients/, with the packages of its lock and the override, in a directory that
 * stays: only what changed is installed again. `files`: another folder that belongs to the program.
 */
export async function client(name: string, o: { files?: string; node?: string } = {}): Promise<Client> {
  const [source, directory] = [join(import.meta.dirname, name), join(ROOT, 'node_modules/.cache/clients', name)]
  const node = o.node ?? process.execPath
  mkdirSync(directory, { recursive: true })
  for (const folder of [o.files, name]) {
    if (folder !== undefined) cpSync(join(import.meta.dirname, folder), directory, { recursive: true, filter: (path) => !path.endsWith('.json') })
  }
  await install(source, directory, await packed())
  return {
    directory,
    bentocaches: bentocachesOf(directory),
    async run(args, env = {}) {
      const options = { cwd: directory, env: { ...process.env, NODE_ENV: 'test', ...env }, timeout: 60_000 }
      try {
        const { stdout, stderr } = await exec(node, args, options)
        return { code: 0, stdout, output: stdout + stderr }
      } catch (error) {
        const { code, stdout, stderr } = error as { code?: number; stdout: string; stderr: string }
        return { code: code ?? -1, stdout, output: stdout + stderr }
      }
    },
  }
}

let packing: Promise<{ tarball: string; digest: string }> | undefined

function packed(): Promise<{ tarball: string; digest: string }> {
  return (packing ??= pack().then((tarball) => {
    const digest = createHash('sha256').update(readFileSync(tarball)).digest('hex').slice(0, 16)
    return { tarball, digest }
  }))
}

async function install(source: string, directory: string, { tarball, digest }: { tarball: string; digest: string }): Promise<void> {
  // By content: npm takes a tarball of the same name and version for the one it has. And in full: npm looks for it from the dependent.
  const kept = join(directory, `bentocache-${digest}.tgz`)
  const override = `file:${kept}`
  const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'))
  manifest.overrides = { bentocache: override }
  if (manifest.dependencies.bentocache !== undefined) manifest.dependencies.bentocache = override
  const lock = readFileSync(join(source, 'package-lock.json'), 'utf8')
  const wanted = JSON.stringify([manifest, lock])
  const record = join(directory, 'installed')
  if (existsSync(record) && readFileSync(record, 'utf8') === wanted) return

  rmSync(record, { force: true })
  copyFileSync(tarball, kept)
  writeFileSync(join(directory, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(directory, 'package-lock.json'), lock)
  const args = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--legacy-peer-deps']
  await exec('npm', args, { cwd: directory, env: { ...process.env, NODE_ENV: 'development' } })
  writeFileSync(record, wanted)
}

/** As npm itself keeps it. */
function bentocachesOf(directory: string): { path: string; version: string }[] {
  const { packages } = JSON.parse(readFileSync(join(directory, 'node_modules/.package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string }>
  }
  const paths = Object.keys(packages).filter((path) => path.endsWith('node_modules/bentocache'))
  return paths.map((path) => ({ path, version: packages[path]!.version }))
}
