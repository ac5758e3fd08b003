import { describe, expect, test } from 'vitest'
import { Stats } from '../../../src/base/stats.js'
import { Flight } from '../../../src/flight/flights.js'
import { Leases } from '../../../src/flight/lease.js'
import type { Asking } from '../../../src/flight/lease.js'
import { VirtualClock } from '../../support/clock.js'
import { Coordinator } from '../../support/coordinator.js'

function opened() {
  const clock = new VirtualClock()
  const coordinator = new Coordinator(clock)
  const leases = new Leases({
    capability: coordinator.connect(),
    clock,
    ttl: 3_000,
    lockAge: 30_000,
    stats: new Stats(),
    ask: (operation) => operation(),
    downSince: () => undefined,
    warn: () => {},
  })
  const asking = (seen: string | undefined): Asking => ({
    flight: Object.assign(new Flight('k', clock.now(), false, 0), { waiting: 1 }),
    watch: leases.watch('k'),
    pending: { key: 'k', isMarked: false, term: undefined },
    seen,
    floor: 0,
    ignoresFailure: true,
    lossGrace: 1_000,
  })
  const store = (text: string) => void coordinator.values.set('k', { text, deadAt: Infinity })
  return { clock, coordinator, leases, asking, store, turn: (one: Asking) => clock.run(leases.takeTurn(one)) }
}

describe('a turn', () => {
  test('is asked for again as long as something is there each time and gone when it is read', async () => {
    const { asking, store, turn, coordinator } = opened()
    const one = asking(undefined)
    for (let flip = 0; flip < 9; flip++) {
      store(`v${flip}`) // stored between our read and our question, and deleted before the next read
      expect(await turn(one)).toEqual({ kind: 'look' })
      coordinator.values.clear()
    }
    expect(await turn(one)).toMatchObject({ kind: 'ours', trigger: 'miss', grant: { fails: 0 } })
  })

  test('is not asked for endlessly: a miss that never is one is computed without a lease', async () => {
    const { asking, store, turn } = opened()
    const one = asking(undefined)
    store('never read')
    for (let tries = 0; tries < 9; tries++) expect(await turn(one)).toEqual({ kind: 'look' })
    expect(await turn(one)).toEqual({ kind: 'ours', grant: undefined, trigger: 'degraded' })
  })

  test('is taken without a lease where what was read twice is not what is stored', async () => {
    const { asking, store, turn } = opened()
    const one = asking('what we read')
    store('what is stored')
    expect(await turn(one)).toEqual({ kind: 'look' })
    expect(await turn(one)).toEqual({ kind: 'ours', grant: undefined, trigger: 'degraded' })
  })

  test('goes on with a lease where each read finds another text', async () => {
    const { asking, store, turn } = opened()
    const one = asking('first')
    store('second')
    expect(await turn(one)).toEqual({ kind: 'look' })
    one.seen = 'second'
    store('third')
    expect(await turn(one)).toEqual({ kind: 'look' })
    one.seen = 'third'
    expect(await turn(one)).toMatchObject({ kind: 'ours', grant: { lease: { seen: 'third' } } })
  })
})
