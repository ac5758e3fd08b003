import { describe, expect, test } from 'vitest'
import { settle } from '../support/clock.js'
import { Fleet, LogBook, SHAPES, Work, errorOf } from '../support/stores.js'

/** A platform that freezes the process unless it is told of what still runs. */
function platform() {
  const told: { isOver: boolean }[] = []
  const waitUntil = (work: Promise<unknown>) => {
    const one = { isOver: false }
    told.push(one)
    void work.then(() => (one.isOver = true))
  }
  return { told, waitUntil }
}

describe.each(SHAPES)('on %s, work that goes on after the answer', (shape) => {
  test('[R14] is handed to waitUntil, and is over when its result is stored', async () => {
    for (const options of [{ timeout: 0 }, { timeout: 10 }, { timeout: null, hardTimeout: 10 }]) {
      const fleet = new Fleet()
      const { told, waitUntil } = platform()
      const bento = fleet.process(shape, { ttl: '1m', grace: '1h', waitUntil, ...options })
      await bento.set('k', 'old')
      await fleet.clock.advance(60_000)
      const work = new Work()
      const read = bento.getOrSet('k', work.factory)
      await fleet.clock.advance(10)
      expect(await read).toBe('old')
      expect(told).toEqual([{ isOver: false }])
      work.give('new')
      await settle()
      expect(told).toEqual([{ isOver: true }])
      expect(await bento.get('k', undefined, { grace: false })).toBe('new')
    }
  })

  test('[R14] is handed over after a hard timeout too, where the caller got an error', async () => {
    const fleet = new Fleet()
    const { told, waitUntil } = platform()
    const bento = fleet.process(shape, { hardTimeout: 10, waitUntil })
    const work = new Work()
    const error = errorOf(bento.getOrSet('k', work.factory))
    await fleet.clock.advance(10)
    expect(await error).toMatchObject({ code: 'E_FACTORY_HARD_TIMEOUT' })
    expect(told).toEqual([{ isOver: false }])
    work.fail(new Error('no'))
    await settle()
    expect(told).toEqual([{ isOver: true }]) // never a rejection that nobody handles
  })

  test('[R14] is handed over once, however many were answered without it', async () => {
    const fleet = new Fleet()
    const { told, waitUntil } = platform()
    const bento = fleet.process(shape, { ttl: '1m', grace: '1h', waitUntil })
    await bento.set('k', 'old')
    await fleet.clock.advance(60_000)
    const work = new Work()
    for (let n = 0; n < 100; n++) expect(await bento.getOrSet('k', work.factory)).toBe('old')
    expect(told).toHaveLength(1)
  })

  test('[R14] is none where everybody waited', async () => {
    const { told, waitUntil } = platform()
    const bento = new Fleet().process(shape, { waitUntil })
    await Promise.all([1, 2, 3].map(() => bento.getOrSet('k', () => 'v')))
    await bento.getOrSet('k', () => 'v')
    expect(told).toEqual([])
  })

  test('[R14] is done all the same when waitUntil throws', async () => {
    const fleet = new Fleet()
    const logger = new LogBook()
    const mine = new Error('mine')
    const bento = fleet.process(shape, { ttl: '1m', grace: '1h', logger, waitUntil: () => { throw mine } })
    await bento.set('k', 'old')
    await fleet.clock.advance(60_000)
    expect(await bento.getOrSet('k', () => 'new')).toBe('old')
    await settle()
    expect(await bento.get('k', undefined, { grace: false })).toBe('new')
    expect(logger.of('error').map(({ fields }) => fields)).toEqual([{ err: mine }])
  })
})
