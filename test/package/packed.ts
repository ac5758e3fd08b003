import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll } from 'vitest'

export const ROOT = resolve(import.meta.dirname, '../..')
const exec = promisify(execFile)

const directories = new Set<string>()
afterAll(() => directories.forEach((directory) => rmSync(directory, { recursive: true, force: true })))

/** A temporary directory, removed when the test file ends. */
export function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'bentocache-package-'))
  directories.add(directory)
  return directory
}

/** Builds, and packs as for publishing; the path of the tarball. */
export async function pack(): Promise<string> {
  const directory = temporary()
  const built = await runNode(ROOT, ['scripts/build.mjs'])
  if (built.code !== 0) throw new Error(`the build failed:\n${built.stdout}${built.stderr}`)
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', directory]
  const { stdout } = await exec('npm', args, { cwd: ROOT })
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
  return join(directory, filename)
}

/** A project that has installed the tarball and nothing else; `added`: how many packages that took. */
export async function installed(tarball: string): Promise<{ project: string; added: number }> {
  const project = emptyProject()
  const args = ['install', tarball, '--json', '--prefer-offline', '--no-audit', '--no-fund', '--no-legacy-peer-deps']
  const { stdout } = await exec('npm', args, { cwd: project })
  return { project, added: (JSON.parse(stdout) as { added: number }).added }
}

/** A project that holds the tarball's content beside packages of this repository. */
export async function unpacked(tarball: string, packages: string[]): Promise<string> {
  const project = emptyProject()
  const own = join(project, 'node_modules/bentocache')
  mkdirSync(own, { recursive: true })
  await exec('tar', ['-xzf', tarball, '-C', own, '--strip-components=1'])
  link(project, packages)
  return project
}

/** Puts packages of this repository's node_modules into the project's. */
export function link(project: string, packages: string[]): void {
  for (const name of packages) {
    const path = join(project, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), path)
  }
}

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

/** Runs Node; killed after `timeout` ms, which is a code of -1. */
export async function runNode(cwd: string, args: string[], timeout = 60_000): Promise<Ran> {
  try {
    return { code: 0, ...(await exec(process.execPath, args, { cwd, timeout })) }
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: number; stdout: string; stderr: string }
    return { code: code ?? -1, stdout, stderr }
  }
}

function emptyProject(): string {
  const project = temporary()
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'somebody', private: true, type: 'module' }))
  return project
}
