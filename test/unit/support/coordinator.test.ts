import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import type { L2CacheDriver } from '../../../src/base/contract.js'
import { systemClock } from '../../../src/base/clock.js'
import { leaseCases } from '../../../src/conformance/leases.js'
import { Coordinator } from '../../support/coordinator.js'

describe('the coordinator in memory is one, by the kit that real engines pass', () => {
  for (const { name, run } of leaseCases) {
    test.concurrent(name, () => {
      const coordinator = new Coordinator(systemClock)
      return run({
        assert,
        createDrivers: async () => [coordinator.connect(), coordinator.connect()],
        foreignWrite: async (_driver: L2CacheDriver, key, text) => void coordinator.values.set(key, { text, deadAt: Infinity }),
      })
    })
  }
})
