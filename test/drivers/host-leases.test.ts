import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
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

test('the kit needs no runner that keeps the process alive: its own waits do', async () => {
  const dist = new URL('../../dist/', import.meta.url).href
  const program = `
    import assert from 'node:assert/strict'
    import { leaseCases } from '${dist}conformance/index.js'
    import { HostDriver } from '${dist}drivers/host/host.js'
    const driver = () => new HostDriver({ directory: ${JSON.stringify(join(directory, 'bare'))}, maxSize: '64mb' })
    const cases = leaseCases.filter(({ needs }) => needs === undefined)
    for (const { run } of cases) await run({ assert, createDrivers: async () => [driver(), driver()] })
    console.log(cases.length)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], { timeout: 60_000 })
  expect(Number(stdout)).toBe(leaseCases.filter(({ needs }) => needs === undefined).length)
})
