import { describe, expect, test } from 'vitest'
import { E_L2_CACHE_ERROR } from '../../../src/base/errors.js'
import { Guard, looksLikeOutage } from '../../../src/tier/guard.js'
import type { GuardOptions } from '../../../src/tier/guard.js'
import { VirtualClock, settle } from '../../support/clock.js'

const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
const refused = new Error('WRONGTYPE')

function guarded(o: Partial<GuardOptions> = {}) {
  const clock = new VirtualClock()
  const reports: string[] = []
  let isBack = false
  let probes = 0
  const guard = new Guard({
    clock,
    probe: async () => {
      probes++
      if (!isBack) throw away
    },
    isOutage: looksLikeOutage,
    breakerDuration: undefined,
    wrap: undefined,
    report: (what) => reports.push(what),
    ...o,
  })
  return {
    clock, guard, reports,
    comeBack: () => (isBack = true),
    get probes() {
      return probes
    },
  }
}

const failing = (error: unknown) => () => Promise.reject(error)
const never = () => new Promise<never>(() => {})

describe('an operation of L2', () => {
  test('answers with what the engine says', async () => {
    const { guard, clock } = guarded()
    expect(await guard.run(async () => 'text', 1_000)).toBe('text')
    expect(clock.pending).toBe(0)
  })

  test('whose answer came while the event loop was blocked is answered, and is no outage', async () => {
    const { guard, clock, reports } = guarded()
    const answer = guard.run(async () => (await clock.sleep(1_050), 'text'), 1_000)
    await settle()
    clock.block(1_040)
    expect(await clock.run(answer)).toBe('text')
    expect(reports).toEqual([])
    expect(guard.downSince).toBeUndefined()
    expect(clock.pending).toBe(0)
  })

  test('that stays silent after a block is late: it gets the time of the block again, and no more than its bound', async () => {
    const { guard, clock, reports } = guarded()
    const answer = guard.run(never, 1_000)
    await settle()
    clock.block(60_000)
    let isOver = false
    void answer.then(() => (isOver = true))
    await clock.advance(990)
    expect(isOver).toBe(false)
    await clock.advance(20)
    expect(await answer).toMatchObject({ code: 'E_L2_CACHE_ERROR' })
    expect(reports).toEqual(['down', 'failed'])
  })

  test('that fails is an answer, not an exception; the original is its cause', async () => {
    const { guard, reports } = guarded()
    const answer = await guard.run(failing(refused), 1_000)
    expect(answer).toBeInstanceOf(E_L2_CACHE_ERROR)
    expect(answer).toMatchObject({ code: 'E_L2_CACHE_ERROR', cause: refused })
    expect(reports).toEqual(['failed'])
    expect(guard.downSince).toBeUndefined()
  })

  test('that throws before it returns a promise is an answer too', async () => {
    const { guard } = guarded()
    const answer = await guard.run(() => {
      throw refused
    }, 1_000)
    expect(answer).toMatchObject({ cause: refused })
  })

  test('is waited for as long as its bound, to the millisecond', async () => {
    const { guard, clock } = guarded()
    const answers: unknown[] = []
    void guard.run(never, 250).then((answer) => answers.push(answer))
    await clock.advance(249)
    expect(answers).toEqual([])
    await clock.advance(1)
    expect(answers).toEqual([expect.objectContaining({ code: 'E_L2_CACHE_ERROR' })])
    expect((answers[0] as any).cause.message).toBe('No answer within 250 ms')
  })

  test('goes through the wrapper, whole', async () => {
    const calls: string[] = []
    const wrap = <T>(operation: () => T): T => {
      calls.push('in')
      const result = operation()
      calls.push('out')
      return result
    }
    const { guard } = guarded({ wrap })
    expect(await guard.run(async () => (calls.push('work'), 5), 1_000)).toBe(5)
    expect(calls).toEqual(['in', 'work', 'out'])
  })
})

describe('an outage', () => {
  test('begins when the operation was sent that found it, and spares everybody else the wait', async () => {
    const { guard, clock, reports } = guarded()
    const sentAt = clock.now()
    const first = guard.run(never, 1_000)
    await clock.advance(1_000)
    await first
    expect(guard.downSince).toBe(sentAt)
    let asked = 0
    const answer = await guard.run(async () => asked++, 1_000)
    expect(answer).toBeInstanceOf(E_L2_CACHE_ERROR)
    expect(asked).toBe(0)
    expect(reports).toEqual(['down', 'failed', 'skipped'])
  })

  test('is not a refusal: a "no" of a living engine spares nobody', async () => {
    const { guard } = guarded()
    await guard.run(failing(refused), 1_000)
    expect(await guard.run(async () => 'text', 1_000)).toBe('text')
  })

  test('is not a slow reply to a caller who could not wait: the operation itself decides', async () => {
    const { guard, clock } = guarded()
    const short = guard.run(() => clock.sleep(500).then(() => 'text'), 100, 1_000)
    await clock.advance(100)
    expect(await short).toBeInstanceOf(E_L2_CACHE_ERROR)
    await clock.advance(900)
    expect(guard.downSince).toBeUndefined()

    const silent = guard.run(never, 100, 1_000)
    await clock.advance(999)
    expect(await silent).toBeInstanceOf(E_L2_CACHE_ERROR)
    expect(guard.downSince).toBeUndefined()
    await clock.advance(1)
    expect(guard.downSince).toBe(clock.now() - 1_000)
  })

  test('is probed every half second, asked or not, and ends with the first probe that succeeds', async () => {
    const world = guarded()
    const { guard, clock, reports } = world
    await guard.run(failing(away), 1_000)
    await clock.advance(2_000)
    expect(world.probes).toBe(4)
    expect(await guard.run(never, 1_000)).toBeInstanceOf(E_L2_CACHE_ERROR)
    world.comeBack()
    await clock.advance(500)
    await settle()
    expect(guard.downSince).toBeUndefined()
    expect(await guard.run(async () => 'text', 1_000)).toBe('text')
    expect(reports.at(-1)).toBe('up')
  })

  test('is over when a probe is answered with a "no": somebody answers again', async () => {
    const world = guarded({ probe: failing(refused) })
    await world.guard.run(failing(away), 1_000)
    await world.clock.advance(500)
    await settle()
    expect(world.guard.downSince).toBeUndefined()
  })

  test('is probed anew when a probe hangs', async () => {
    let probes = 0
    const { guard, clock } = guarded({ probe: () => (probes++, never()) })
    await guard.run(failing(away), 1_000)
    await clock.advance(3_000)
    expect(probes).toBe(2) // at 500 ms, and 2 s later beside the one that hangs
  })

  test('is over for everybody when somebody learns elsewhere that L2 is back', async () => {
    const { guard, reports } = guarded()
    await guard.run(failing(away), 1_000)
    guard.isBack()
    expect(await guard.run(async () => 'text', 1_000)).toBe('text')
    guard.isBack()
    expect(reports.filter((what) => what === 'up')).toHaveLength(1)
  })

  test.each([
    [Object.assign(new Error('x'), { code: 'ECONNRESET' }), true],
    [Object.assign(new Error('x'), { name: 'MaxRetriesPerRequestError' }), true],
    [new Error('Connection is closed.'), true],
    [new Error("Stream isn't writeable and enableOfflineQueue options is false"), true],
    [new Error('LOADING Redis is loading the dataset in memory'), true],
    [new Error('READONLY You can\'t write against a read only replica.'), true],
    [Object.assign(new Error('Knex: Timeout acquiring a connection.'), { name: 'KnexTimeoutError' }), true],
    [Object.assign(new Error('terminating connection due to administrator command'), { code: '57P01' }), true],
    [Object.assign(new Error('terminating connection because of crash of another server process'), { code: '57P02' }), true],
    [Object.assign(new Error('the database system is starting up'), { code: '57P03' }), true],
    [new Error('Connection terminated unexpectedly'), true],
    [new Error('timeout exceeded when trying to connect'), true],
    [Object.assign(new Error('Connection lost: The server closed the connection.'), { code: 'PROTOCOL_CONNECTION_LOST' }), true],
    [Object.assign(new Error('canceling statement due to user request'), { code: '57014' }), false],
    [Object.assign(new Error('relation "bentocache" does not exist'), { code: '42P01' }), false],
    [Object.assign(new Error('duplicate key'), { code: '23505' }), false],
    [new Error('WRONGTYPE Operation against a key'), false],
    [new Error('OOM command not allowed'), false],
    [new Error('NOPERM this user has no permissions'), false],
    ['a text', false],
    [undefined, false],
  ])('is told from a refusal by what engines say: %s → %s', (error, isOutage) => {
    expect(looksLikeOutage(error)).toBe(isOutage)
  })
})

describe('the breaker', () => {
  test('opens on any failure, for its duration, and then lets one operation through that decides', async () => {
    const { guard, clock } = guarded({ breakerDuration: 1_000 })
    let asked = 0
    const ask = () => guard.run(async () => ++asked, 500)
    await guard.run(failing(refused), 500)
    expect(await ask()).toBeInstanceOf(E_L2_CACHE_ERROR)
    await clock.advance(999)
    expect(await ask()).toBeInstanceOf(E_L2_CACHE_ERROR)
    expect(asked).toBe(0)
    await clock.advance(1)

    const trial = guard.run(() => clock.sleep(100).then(() => ++asked), 500)
    expect(await ask()).toBeInstanceOf(E_L2_CACHE_ERROR) // only one is let through
    await clock.advance(100)
    expect(await trial).toBe(1)
    expect(await ask()).toBe(2)
  })

  test('stays open for another duration when the one let through fails', async () => {
    const { guard, clock } = guarded({ breakerDuration: 1_000 })
    await guard.run(failing(refused), 500)
    await clock.advance(1_000)
    await guard.run(failing(refused), 500)
    await clock.advance(999)
    expect(await guard.run(async () => 'text', 500)).toBeInstanceOf(E_L2_CACHE_ERROR)
    await clock.advance(1)
    expect(await guard.run(async () => 'text', 500)).toBe('text')
  })

  test('does not stay open longer because of what had been sent before it opened', async () => {
    const { guard, clock } = guarded({ breakerDuration: 1_000 })
    const late = guard.run(() => clock.sleep(400).then(() => Promise.reject(refused)), 500)
    await guard.run(failing(refused), 500)
    await clock.advance(1_000)
    expect(await late).toBeInstanceOf(E_L2_CACHE_ERROR)
    expect(await guard.run(async () => 'text', 500)).toBe('text')
  })

  test('of duration 0 is none', async () => {
    const { guard } = guarded({ breakerDuration: 0 })
    await guard.run(failing(refused), 500)
    expect(await guard.run(async () => 'text', 500)).toBe('text')
  })
})
