import { afterAll, beforeAll, expect, test } from 'vitest'
import { endFleet, herd, median, startFleet } from '../support/fleet.js'
import { sharesEveryOutcome, storesNothingOld, survivesItsLeaders } from '../support/fleet-suite.js'
import { startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'

/** The same promises with PostgreSQL as the only thing the processes share. */
let server: SqlServer
let database: string
beforeAll(async () => {
  server = await startPostgres()
  database = await server.createDatabase()
}, 60_000)
afterAll(() => server.stop())

const suite = {
  config: () => ({ postgres: { host: server.host, port: server.port, user: server.user, database } }),
  takeOverMs: 3_000,
  leaseMs: 3_000,
  // Unlike Redis, PostgreSQL answers who committed before it has told who listens: as old as L1's knowledge may be.
}

sharesEveryOutcome(suite)
survivesItsLeaders(suite)
storesNothingOld(suite, 100)

test('10 processes × 100 callers: 1 run each of 5 times, the slowest caller 60 ms behind at most (median)', async () => {
  const fleet = await startFleet(10, suite.config())
  try {
    const herds = []
    for (let round = 0; round < 5; round++) herds.push(await herd(fleet, `measured-${round}`, 100))
    expect(herds.map(({ runs }) => runs)).toEqual([1, 1, 1, 1, 1])
    expect(median(herds.map(({ behindMs }) => behindMs))).toBeLessThanOrEqual(60)
  } finally {
    await endFleet(fleet)
  }
})
