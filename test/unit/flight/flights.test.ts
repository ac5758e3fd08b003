import { describe, expect, test } from 'vitest'
import { Entry } from '../../../src/base/entry.js'
import { LATE } from '../../../src/base/promises.js'
import { Flight, Flights } from '../../../src/flight/flights.js'
import type { Landing } from '../../../src/flight/flights.js'
import { VirtualClock, settle } from '../../support/clock.js'

const flightOf = (key = 'k', o: { forced?: boolean; fails?: 0 | 1 } = {}) => new Flight(key, 0, o.forced ?? false, o.fails ?? 0)
const landing = (value: unknown): Landing => ({ kind: 'entry', entry: new Entry(0, value, 0, Infinity, []), from: 'factory' })

describe('the open flights', () => {
  test('hold one per key, until it is closed', () => {
    const flights = new Flights()
    const flight = flightOf()
    flights.depart(flight)
    expect(flights.get('k')).toBe(flight)
    expect(flights.get('other')).toBeUndefined()
    flights.close(flight)
    expect(flights.get('k')).toBeUndefined()
  })

  test('lose a flight only by its own end: an older one does not remove the one that replaced it', () => {
    const flights = new Flights()
    const [older, newer] = [flightOf(), flightOf()]
    flights.depart(older)
    flights.depart(newer)
    flights.close(older)
    expect(flights.get('k')).toBe(newer)
  })

  test('are outrun by a forced one, but not by one that departs because they are too old', () => {
    const flights = new Flights()
    const [old, next, forced] = [flightOf(), flightOf(), flightOf('k', { forced: true })]
    flights.depart(old)
    flights.depart(next)
    expect(old.isOutrun).toBe(false)
    expect(next.replaces).toBe(old)
    flights.depart(forced)
    expect([old.isOutrun, next.isOutrun, forced.isOutrun]).toEqual([true, true, false])
    expect(flights.get('k')).toBe(forced)
  })

  test('may store only until a younger one has', () => {
    const flights = new Flights()
    const [oldest, older, newest] = [flightOf(), flightOf(), flightOf()]
    for (const flight of [oldest, older, newest]) flights.depart(flight)
    flights.hasStored(newest)
    expect([oldest.isOutrun, older.isOutrun, newest.isOutrun]).toEqual([true, true, false])
  })

  test('take no newcomers once they are outrun', () => {
    const flights = new Flights()
    const flight = flightOf()
    flights.depart(flight)
    flights.outrun('k')
    expect(flight.isOutrun).toBe(true)
    expect(flights.get('k')).toBeUndefined()
    flights.outrun('k') // nothing left to outrun
  })

  test('are not outrun by what was stored in their own term', () => {
    const flights = new Flights()
    const flight = flightOf()
    flight.term = 't1'
    flights.depart(flight)
    flights.outrun('k', 't1')
    expect(flight.isOutrun).toBe(false)
    flights.outrun('k', 't2')
    expect(flight.isOutrun).toBe(true)
  })

  test('are outrun together below a namespace path, and none beside it', () => {
    const flights = new Flights()
    const keys = ['users:1', 'users:posts:1', 'usersAbc:1', '1', 'users']
    const all = keys.map((key) => flightOf(key))
    for (const flight of all) flights.depart(flight)
    flights.outrunAll('users')
    expect(keys.filter((_, i) => all[i]!.isOutrun)).toEqual(['users:1', 'users:posts:1'])
    flights.outrunAll('')
    expect(all.every((flight) => flight.isOutrun)).toBe(true)
    expect(keys.filter((key) => flights.get(key) !== undefined)).toEqual([])
  })
})

describe('a wait for a flight', () => {
  test('without a bound is the flight\'s own promise', () => {
    const flight = flightOf()
    expect(flight.within(new VirtualClock(), Infinity)).toBe(flight.done)
  })

  test('ends with the landing, for every waiter, and leaves no timer', async () => {
    const clock = new VirtualClock()
    const flight = flightOf()
    const waits = [flight.within(clock, 100), flight.within(clock, 200), flight.done]
    const landed = landing('v')
    flight.land(landed)
    for (const wait of waits) expect(await wait).toBe(landed)
    expect(clock.pending).toBe(0)
  })

  test('is LATE after its own bound, while the others wait on', async () => {
    const clock = new VirtualClock()
    const flight = flightOf()
    const ends: unknown[] = []
    for (const ms of [0, 100, 200]) void flight.within(clock, ms).then((end) => ends.push([ms, end === LATE]))
    await settle()
    expect(ends).toEqual([[0, true]])
    await clock.advance(100)
    expect(ends).toEqual([[0, true], [100, true]])
    flight.land(landing('v'))
    await settle()
    expect(ends).toEqual([[0, true], [100, true], [200, false]])
    expect(clock.pending).toBe(0)
  })

  test('that is over leaves nothing behind, however often a hung flight is waited for', async () => {
    const clock = new VirtualClock()
    const flight = flightOf()
    for (let n = 0; n < 1_000; n++) void flight.within(clock, 10)
    await clock.advance(10)
    expect(clock.pending).toBe(0)
    let woken = 0
    void flight.within(clock, 10).then((end) => void (end === LATE || woken++))
    flight.land(landing('v'))
    await settle()
    expect(woken).toBe(1)
  })

  test('for what it found ends with the landing at the latest', async () => {
    const [looked, forced] = [flightOf(), flightOf()]
    const entry = new Entry(0, 'stale', 0, 0, [])
    looked.arrive({ entry, trouble: undefined, isEnd: false })
    looked.land(landing('v'))
    forced.land(landing('v'))
    expect(await looked.found).toMatchObject({ entry, isEnd: false })
    expect(await forced.found).toMatchObject({ entry: undefined, isEnd: false })
  })
})

describe('a circle of flights', () => {
  test('is seen from each of its members, and from nobody else', () => {
    const [a, b, c, d] = [flightOf('a'), flightOf('b'), flightOf('c'), flightOf('d')]
    a.waitsFor.add(b)
    b.waitsFor.add(c)
    d.waitsFor.add(a)
    expect(a.isAwaitedBy(a)).toBe(true)
    expect(c.isAwaitedBy(a)).toBe(true) // c asks for a, a waits for c through b
    expect(a.isAwaitedBy(c)).toBe(false)
    expect(d.isAwaitedBy(c)).toBe(false)
  })
})
