import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import type { Plan, Twin } from '../support/schedules.js'
import { holds, plans } from '../support/schedules.js'

const ONE_KEY = ['delete', 'expire', 'set'] as const
const ALL = [...ONE_KEY, 'deleteByTag', 'clear'] as const

/** `SCHEDULES=20000 npx vitest run test/behaviour/schedules.test.ts` looks further. */
const numRuns = Number(process.env['SCHEDULES'] ?? 60)

/** The seed, the smallest plan and its schedule; undefined: it held. */
async function failureOf(arbitrary: fc.Arbitrary<Plan>, o: { isOnce?: boolean; readsOvertake?: boolean } = {}): Promise<string | undefined> {
  const found = await fc.check(fc.asyncProperty(arbitrary, (plan) => holds(plan, o)), { numRuns })
  return found.failed ? `${fc.defaultReportMessage(found)}\n\n${found.errorInstance}` : undefined
}

describe('whatever order the network chooses', { timeout: 60_000 + numRuns * 300 }, () => {
  test('what was deleted, expired or set is served to nobody afterwards, and each invalidation costs one run at most', async () => {
    expect(await failureOf(plans({ writes: [...ONE_KEY] }), { isOnce: true })).toBeUndefined()
  })

  test('the same with tags and clear', async () => {
    expect(await failureOf(plans({ writes: [...ALL] }))).toBeUndefined()
  })

  test('the same where reads overtake writes, as in shared memory', async () => {
    expect(await failureOf(plans({ writes: [...ALL] }), { readsOvertake: true })).toBeUndefined()
  })

  test('the same while factories fail: everybody has an answer', async () => {
    expect(await failureOf(plans({ writes: [...ALL], fails: true }))).toBeUndefined()
  })

  test('the same while processes miss news: stale for maxL1Staleness at most', async () => {
    expect(await failureOf(plans({ writes: [...ALL, 'lose frames'] }))).toBeUndefined()
  })
})

/** Each mechanism has a twin without it, in which the same check finds what it is there against. */
describe('the check can fail', () => {
  const twins: [what: string, without: Twin, finds: RegExp][] = [
    ['leases', { leases: false }, /I[134]: /],
    ['revocation by who invalidates', { coordinator: 'revocation' }, /I[134]: /],
    ['the check of the term when a result is stored', { coordinator: 'term' }, /I[134]: /],
    ['the check of what the leader had seen', { coordinator: 'seen' }, /I[1234]: /],
    ['news', { coordinator: 'news' }, /I[14]: /],
  ]
  for (const [what, without, finds] of twins) {
    test(`without ${what}`, async () => {
      const property = fc.asyncProperty(plans({ writes: [...ONE_KEY] }), (plan) => holds(plan, { isOnce: finds.test('I2: '), without }))
      const found = await fc.check(property, { numRuns: 3_000, endOnFailure: true })
      expect(String(found.errorInstance)).toMatch(finds)
    })
  }
})
