import { execFileSync } from 'node:child_process'
import type { ExecFileSyncOptionsWithStringEncoding } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Another one after each start of the system; undefined: this system has none that we know of. */
export function bootId(): string | undefined {
  try {
    const id = process.platform === 'darwin' ? execFileSync('sysctl', ['-n', 'kern.bootsessionuuid'], OPTIONS) : readFileSync(LINUX, 'latin1')
    return /^[\w-]{8,64}$/.exec(id.trim())?.[0]
  } catch {
    return undefined
  }
}

const LINUX = '/proc/sys/kernel/random/boot_id'
const OPTIONS: ExecFileSyncOptionsWithStringEncoding = { encoding: 'latin1', timeout: 2_000, stdio: ['ignore', 'pipe', 'ignore'] }
