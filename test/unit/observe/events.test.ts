import { describe, expect, test } from 'vitest'
import { EventHub } from '../../../src/observe/events.js'

describe('the default emitter', () => {
  test('calls the listeners of an event, in their order, with what was emitted', () => {
    const hub = new EventHub()
    const heard: unknown[] = []
    hub.on('a', (payload) => heard.push(['first', payload]))
    hub.on('a', (payload) => heard.push(['second', payload]))
    hub.on('b', () => heard.push('never'))
    hub.emit('a', 5)
    expect(heard).toEqual([['first', 5], ['second', 5]])
  })

  test('calls a listener of `once` once, and one registered twice twice', () => {
    const hub = new EventHub()
    let [once, twice] = [0, 0]
    const count = () => twice++
    hub.once('a', () => once++)
    hub.on('a', count)
    hub.on('a', count)
    hub.emit('a')
    hub.emit('a')
    expect([once, twice]).toEqual([1, 4])
  })

  test('lets go of a listener, also of one that waits for its only call, one registration at a time', () => {
    const hub = new EventHub()
    let calls = 0
    const count = () => calls++
    hub.once('a', count)
    hub.on('a', count)
    hub.off('a', count)
    hub.emit('a')
    expect(calls).toBe(1)
    hub.off('a', count)
    hub.off('a', count) // nothing left
    hub.off('never', count)
    hub.emit('a')
    expect(calls).toBe(1)
    expect(hub.isHeard).toBe(false)
  })

  test('knows whether anybody listens, and how many', () => {
    const hub = new EventHub()
    const listener = () => {}
    expect([hub.isHeard, hub.listenerCount('a')]).toEqual([false, 0])
    hub.on('a', listener)
    hub.once('a', () => {})
    expect([hub.isHeard, hub.listenerCount('a'), hub.listenerCount('b')]).toEqual([true, 2, 0])
    hub.emit('a')
    expect(hub.listenerCount('a')).toBe(1)
  })

  test('tells everybody before it says that somebody threw', () => {
    const hub = new EventHub()
    const heard: string[] = []
    hub.on('a', () => {
      throw new Error('mine')
    })
    hub.on('a', () => heard.push('second'))
    expect(() => hub.emit('a')).toThrow('mine')
    expect(heard).toEqual(['second'])
  })

  test('does not lose its place when a listener leaves or comes while it is told', () => {
    const hub = new EventHub()
    const heard: string[] = []
    const first = () => {
      heard.push('first')
      hub.off('a', first)
      hub.on('a', () => heard.push('late'))
    }
    hub.on('a', first)
    hub.on('a', () => heard.push('second'))
    hub.emit('a')
    expect(heard).toEqual(['first', 'second'])
    hub.emit('a')
    expect(heard).toEqual(['first', 'second', 'second', 'late'])
  })
})
