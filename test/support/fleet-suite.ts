import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { endFleet, herd, median, runsOf, startFleet } from './fleet.js'
import type { Process } from './process.js'

export interface FleetSuite {
  /** What the processes share; the config of `fleet-worker.mjs`. */
  config: () => Record<string, unknown>
  /** A leader that was killed is replaced within this, ms after the kill. */
  takeOverMs: number
  leaseMs: number
}

/** Nobody computes twice, whatever the factory does, and everybody is told. */
export function sharesEveryOutcome(suite: FleetSuite): void {
  describe('every outcome is shared', () => {
    let fleet: Process[] = []
    beforeAll(async () => void (fleet = await startFleet(10, suite.config())))
    afterAll(() => endFleet(fleet))

    test('[row 1] 10 processes × 1,000 callers of one cold key: 1 run, everybody has the value', async () => {
      for (let round = 0; round < 3; round++) {
        const { runs, outcomes } = await herd(fleet, `cold-${round}`, 1_000)
        expect({ runs, outcomes }).toEqual({ runs: 1, outcomes: { [`cold-${round}`]: 10_000 } })
      }
    })

    test('[row 1] the same while every event loop is blocked for longer than l2Timeout: a late timer is no outage', async () => {
      const reports = await Promise.all(fleet.map((one) => one.ask('blockedHerd', 'blocked', 100, 1_500)))
      expect(reports.reduce((sum, { runs }) => sum + runs, 0)).toBe(1)
      for (const { outcomes } of reports) expect(outcomes).toEqual({ blocked: 100 })
    })

    test('[row 2] a failing factory: at most 2 runs, everybody is rejected, shared errors say so; the next call tries again', async () => {
      const took: number[] = []
      for (const key of ['failing-1', 'failing-2', 'failing-3']) {
        const { runs, outcomes, tookMs } = await herd(fleet, key, 100, 'failure')
        const own = outcomes['E_FACTORY_ERROR own TypeError EDOWN'] ?? 0
        const shared = outcomes['E_FACTORY_ERROR shared TypeError EDOWN'] ?? 0
        expect(own + shared).toBe(1_000)
        expect(shared).toBeGreaterThanOrEqual(800) // the processes in which it did not run
        expect(runs).toBeLessThanOrEqual(2)
        took.push(tookMs)
      }
      expect(median(took)).toBeLessThan(2 * 50 + 200)

      await sleep(2_100) // what was remembered for late comers of that herd is forgotten
      for (const one of fleet) {
        const again = await one.ask('herd', 'failing-1', 1)
        expect(again.outcomes).toEqual({ 'failing-1': 1 })
      }
    })

    for (const [how, outcome] of [['skip', 'undefined'], ['L1 only', 'not-kept']] as const) {
      test(`[row 3] a factory that ends in "${how}": 1 run for 10 × 100 callers`, async () => {
        const { runs, outcomes } = await herd(fleet, 'not-kept', 100, how, 400)
        expect({ runs, outcomes }).toEqual({ runs: 1, outcomes: { [outcome]: 1_000 } })
        for (const one of fleet) await one.ask('remove', 'not-kept')
      })
    }

    test('[row 3] ttl 0: 1 run for 10 × 100 callers, nothing is kept', async () => {
      const reports = await Promise.all(fleet.map((one) => one.ask('herd', 'ttl-0', 100, 'value', 400, { ttl: 0 })))
      expect(reports.reduce((sum, { runs }) => sum + runs, 0)).toBe(1)
      expect(reports.every(({ outcomes }) => outcomes['ttl-0'] === 100)).toBe(true)
      expect(await fleet[0]!.ask('get', 'ttl-0')).toBeUndefined()
    })

    test('nobody has an unhandled rejection', async () => {
      for (const one of fleet) expect(await one.ask('unhandledRejections')).toEqual([])
    })
  })
}

/** A leader that dies, sleeps or is slow costs what it must, and nothing stale. */
export function survivesItsLeaders(suite: FleetSuite): void {
  describe('leaders that die, sleep, or are slow', () => {
    let fleet: Process[] = []
    afterEach(() => endFleet(fleet))

    test('[row 4] the leader is SIGKILLed: exactly 1 more run, soon', async () => {
      fleet = await startFleet(4, suite.config())
      const [leader, ...others] = fleet
      await leader!.ask('depart', 'orphan', 'never', 60_000)
      for (const other of others) await other.ask('follow', 'orphan', 'by an heir', 50)
      await sleep(200)
      const killedAt = Date.now()
      await leader!.kill()
      const landings = await Promise.all(others.map((other) => other.ask('landing', 'orphan')))
      const tookMs = Date.now() - killedAt
      expect(landings).toEqual(['by an heir', 'by an heir', 'by an heir'])
      expect(await runsOf(others)).toBe(1)
      expect(tookMs).toBeLessThan(suite.takeOverMs + 50 + 500)
    })

    test('[row 5] the leader is SIGSTOPped past its lease, another stores, the leader wakes up: its late result is in no tier', async () => {
      fleet = await startFleet(3, suite.config())
      const [leader, heir, other] = fleet
      await leader!.ask('depart', 'sleeper', 'old', 1_000)
      leader!.stop()
      await sleep(suite.leaseMs + 300)
      expect(await heir!.ask('depart', 'sleeper', 'new', 20)).toBe('runs')
      expect(await heir!.ask('landing', 'sleeper')).toBe('new')
      leader!.cont()
      await leader!.ask('landing', 'sleeper')
      await sleep(300)
      for (const one of [leader!, heir!, other!]) {
        expect(await one.ask('peek', 'sleeper')).not.toMatchObject({ value: 'old', isServed: true })
        expect(await one.ask('get', 'sleeper')).toBe('new')
      }
    })

    test('[row 5] the same with a delete meanwhile', async () => {
      fleet = await startFleet(2, suite.config())
      const [leader, other] = fleet
      await leader!.ask('depart', 'deleted', 'old', 300)
      leader!.stop()
      await sleep(100)
      await other!.ask('remove', 'deleted')
      await sleep(400)
      leader!.cont()
      expect(await leader!.ask('landing', 'deleted')).toBe('old') // it asked before the delete
      expect(await other!.ask('get', 'deleted')).toBeUndefined()
      expect(await leader!.ask('get', 'deleted')).toBeUndefined()
    })

    test('[row 6] a factory three times as long as lockAge, steady demand of 4 processes: stored, at most 1 run per lockAge', async () => {
      fleet = await startFleet(4, { ...suite.config(), store: { ...(suite.config().store as object), lockAge: 1_000 } })
      const options = { ttl: '1h', lockAge: 1_000 }
      const reports = await Promise.all(fleet.map((one) => one.ask('steadyDemand', 'slow', 4_500, 3_000, options, 20)))
      const runs = reports.reduce((sum, report) => sum + report.runs, 0)
      expect(runs).toBeGreaterThanOrEqual(1)
      expect(runs).toBeLessThanOrEqual(4) // one at 0 s, 1 s, 2 s, and one that was about to
      for (const { answered, calls } of reports) expect(answered).toBe(calls)
      expect(await fleet[0]!.ask('get', 'slow')).toBe('slow')
    })

    test('a leader that disconnects hands over at once', async () => {
      fleet = await startFleet(2, suite.config())
      const [leader, other] = fleet
      await leader!.ask('depart', 'handed-over', 'never', 60_000)
      await other!.ask('follow', 'handed-over', 'by the other', 10)
      await sleep(100)
      const startedAt = Date.now()
      await leader!.ask('disconnect')
      expect(await other!.ask('landing', 'handed-over')).toBe('by the other')
      expect(Date.now() - startedAt).toBeLessThan(suite.leaseMs)
    })
  })
}

/** What another process invalidates while it is computed is stored nowhere. */
export function storesNothingOld(suite: FleetSuite, times: number): void {
  describe('an invalidation by another process during a computation', () => {
    let fleet: Process[] = []
    beforeAll(async () => void (fleet = await startFleet(3, suite.config())))
    afterAll(() => endFleet(fleet))

    for (const how of ['remove', 'set', 'expire', 'clear'] as const) {
      test(`[row 7] ${how}, ${times} times: no old value in L2 nor in any L1 afterwards`, async () => {
        const [leader, other, third] = fleet
        const old: string[] = []
        for (let i = 0; i < times; i++) {
          const key = `${how}-${i}`
          await leader!.ask('depart', key, 'old', 2)
          await (how === 'clear' ? other!.ask('clear') : how === 'set' ? other!.ask('set', key, 'new') : other!.ask(how, key))
          await leader!.ask('landing', key)
          // Who acknowledged knows at once, L2 through it; the others once it was delivered.
          if ((await other!.ask('get', key)) === 'old') old.push(`${key} of who acknowledged`)
          for (const one of [third!, leader!]) if (await isStillOld(one, key)) old.push(`${key} of ${one === leader ? 'the leader' : 'a third'}`)
        }
        expect(old).toEqual([])
      })
    }

    test(`[row 7] deleteByTag, ${Math.min(times, 100)} times: the old value is served to nobody`, async () => {
      const [leader, other, third] = fleet
      for (let i = 0; i < Math.min(times, 100); i++) {
        const key = `tagged-${i}`
        await leader!.ask('depart', key, 'old', 3, { ttl: '1h', tags: ['tag'] })
        await other!.ask('removeByTag', 'tag')
        await leader!.ask('landing', key)
        expect(await other!.ask('get', key)).toBeUndefined()
        for (const one of [leader!, third!]) expect(await isStillOld(one, key)).toBe(false)
      }
    })

    test('[row 8] callers that waited when their leader was refused get its value without another run', async () => {
      const [leader, other, third] = fleet
      await Promise.all(fleet.map((one) => one.ask('forgetRuns')))
      await leader!.ask('depart', 'refused', 'of before', 400)
      await third!.ask('follow', 'refused', 'of the follower', 10)
      await sleep(150)
      await other!.ask('remove', 'refused')
      expect(await leader!.ask('landing', 'refused')).toBe('of before')
      expect(await third!.ask('landing', 'refused')).toBe('of before')
      expect(await runsOf(fleet)).toBe(1)
      expect(await other!.ask('get', 'refused')).toBeUndefined()
    })
  })
}

/** An invalidation is everywhere after one delivery: longer than that, ms, nobody may serve what it took away. */
const DELIVERY = 250

async function isStillOld(one: Process, key: string): Promise<boolean> {
  const until = Date.now() + DELIVERY
  while ((await one.ask('get', key)) === 'old') {
    if (Date.now() > until) return true
    await sleep(5)
  }
  return false
}
