import { describe, expect, test } from 'vitest'
import { TagMarks } from '../../../src/tier/tag-marks.js'

describe('what a process knows of tags', () => {
  test('is nothing at first: with an L2 it must ask, without one there is nobody to ask', () => {
    expect(new TagMarks(false).of('t')).toMatchObject({ time: 0, knownUntil: -1 })
    expect(new TagMarks(true).of('t')).toMatchObject({ time: 0, knownUntil: Infinity })
  })

  test('is one object per tag, so that entries can hold it', () => {
    const marks = new TagMarks(false)
    const mark = marks.of('t')
    marks.learn('t', 50, 100)
    expect(marks.of('t')).toBe(mark)
    expect(mark).toMatchObject({ time: 50, knownUntil: 100 })
  })

  test('only ever grows: an older time from a late reply changes nothing but the trust', () => {
    const marks = new TagMarks(false)
    marks.learn('t', 50, 100)
    marks.learn('t', 40, 200)
    expect(marks.of('t')).toMatchObject({ time: 50, knownUntil: 200 })
  })

  test('has an order: what was learned after a position is above it, and repetition is not learning', () => {
    const marks = new TagMarks(false)
    marks.learn('a', 50, 100)
    const position = marks.position
    marks.learn('a', 50, 100)
    expect(marks.position).toBe(position)
    marks.learn('b', 60, 100)
    expect(marks.of('a').learnedAt).toBeLessThanOrEqual(position)
    expect(marks.of('b').learnedAt).toBeGreaterThan(position)
  })

  test('can be doubted, one by one or all, and keeps its time', () => {
    const marks = new TagMarks(false)
    for (const tag of ['a', 'b']) marks.learn(tag, 50, 100)
    marks.hear('a')
    expect([marks.of('a').knownUntil, marks.of('b').knownUntil]).toEqual([-1, 100])
    marks.forgetAll()
    expect(marks.of('b')).toMatchObject({ time: 50, knownUntil: -1 })
  })

  test('that was only heard of is learned as of the moment it was heard', () => {
    const marks = new TagMarks(false)
    marks.hear('t')
    const position = marks.position
    marks.learn('other', 1, 100)
    marks.learn('t', 50, 100)
    expect(marks.of('t')).toMatchObject({ time: 50, heardAt: undefined, learnedAt: position })
    marks.learn('t', 60, 100)
    expect(marks.of('t').learnedAt).toBeGreaterThan(position)
  })

  test('is never doubted where this process is the authority', () => {
    const marks = new TagMarks(true)
    marks.learn('t', 50, 0)
    marks.forgetAll()
    expect(marks.of('t')).toMatchObject({ time: 50, knownUntil: Infinity })
  })

  test('is bounded; what was forgotten is asked again with an L2, by the entries that hold it too', () => {
    const marks = new TagMarks(false)
    marks.learn('t', 50, Infinity)
    const held = marks.of('t')
    for (let n = 0; n < 50_000; n++) marks.of(`other ${n}`)
    expect(held.knownUntil).toBe(-1)
    expect(marks.of('t')).toMatchObject({ time: 0, knownUntil: -1 })
  })

  test('without an L2 still hits after it was forgotten: an unknown tag counts as invalidated then', () => {
    const marks = new TagMarks(true)
    marks.learn('t', 50, Infinity)
    for (let n = 0; n < 50_000; n++) marks.of(`other ${n}`)
    expect(marks.of('t').time).toBe(50)
  })
})
