import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, test } from 'vitest'
import { leaseCases } from '../../src/conformance/leases.js'
import { HostDriver } from '../../src/drivers/host/host.js'

const directory = mkdtempSync(join(tmpdir(), 'bento-host-'))

afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe('two drivers in one process', () => {
  for (const { name, needs, run } of leaseCases) {
    // Whoever writes to the map writes with leases: there are no foreign writers.
    if (needs === 'foreignWrite') continue
    test(name, () =>
      run({
        assert,
        createDrivers: async () => [new HostDriver({ directory, maxSize: '64mb', prefix: 'p' }), new HostDriver({ directory, maxSize: '64mb', prefix: 'p' })],
      })
    )
  }
})
