import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { sharesEveryOutcome, storesNothingOld, survivesItsLeaders } from '../support/fleet-suite.js'

/** The same promises without any server: processes of one host that share a directory. */
let directory: string
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), 'bentocache-fleet-'))))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const suite = {
  config: () => ({ directory: join(directory, 'cache') }),
  takeOverMs: 100,
  leaseMs: 3_000,
}

sharesEveryOutcome(suite)
survivesItsLeaders(suite)
storesNothingOld(suite, 300)
