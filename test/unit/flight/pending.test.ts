import { describe, expect, test } from 'vitest'
import { PendingKeys } from '../../../src/flight/pending.js'

describe('what is under way', () => {
  test('is marked by news of its key, each of several', () => {
    const keys = new PendingKeys()
    const [one, two, other] = [keys.begin('k'), keys.begin('k'), keys.begin('other')]
    keys.mark('k')
    expect([one.isMarked, two.isMarked, other.isMarked]).toEqual([true, true, false])
  })

  test('is not marked by news from before it began', () => {
    const keys = new PendingKeys()
    keys.mark('k')
    expect(keys.begin('k').isMarked).toBe(false)
  })

  test('is not marked by what was stored in its own term', () => {
    const keys = new PendingKeys()
    const [mine, foreign] = [keys.begin('k'), keys.begin('k')]
    mine.term = 't1'
    keys.mark('k', 't1')
    expect([mine.isMarked, foreign.isMarked]).toEqual([false, true])
    keys.mark('k', 't2')
    expect(mine.isMarked).toBe(true)
  })

  test('is marked by a clear, below the namespace that was and not beside it', () => {
    const keys = new PendingKeys()
    const pendings = ['users:1', 'usersAbc:1', 'users'].map((key) => keys.begin(key))
    keys.markAll('users')
    expect(pendings.map(({ isMarked }) => isMarked)).toEqual([true, false, false])
    keys.markAll('')
    expect(pendings.map(({ isMarked }) => isMarked)).toEqual([true, true, true])
  })

  test('is forgotten when it ends, and ending twice harms nobody', () => {
    const keys = new PendingKeys()
    const [one, two] = [keys.begin('k'), keys.begin('k')]
    keys.end(one)
    keys.end(one)
    expect(keys.size).toBe(1)
    keys.mark('k')
    expect([one.isMarked, two.isMarked]).toEqual([false, true])
    keys.end(two)
    expect(keys.size).toBe(0)
  })
})
