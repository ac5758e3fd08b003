import { describe, expect, test } from 'vitest'
import type { L1CacheDriver } from '../../../src/base/contract.js'
import { Codec } from '../../../src/base/entry.js'
import type { Entry } from '../../../src/base/entry.js'
import { memoryDriver } from '../../../src/drivers/memory/memory.js'
import { Local } from '../../../src/tier/local.js'
import { VirtualClock } from '../../support/clock.js'

const codec = new Codec()

/** An L1 engine of 1.6.1's shape, as a user may have written one: it knows text and nothing else. */
class TextL1 implements L1CacheDriver {
  readonly type = 'l1'
  readonly #kept: Map<string, { text: string; deadAt: number }>
  readonly #clock: VirtualClock
  readonly #prefix: string

  constructor(clock: VirtualClock, prefix = '', kept = new Map()) {
    this.#clock = clock
    this.#prefix = prefix
    this.#kept = kept
  }

  namespace(namespace: string): TextL1 {
    return new TextL1(this.#clock, `${this.#prefix}${namespace}:`, this.#kept)
  }

  get(key: string): string | undefined {
    const kept = this.#kept.get(this.#prefix + key)
    return kept !== undefined && this.#clock.now() < kept.deadAt ? kept.text : undefined
  }

  pull(key: string): string | undefined {
    const text = this.get(key)
    this.delete(key)
    return text
  }

  set(key: string, text: string, ttl?: number): boolean {
    this.#kept.set(this.#prefix + key, { text, deadAt: this.#clock.now() + (ttl || Infinity) })
    return true
  }

  delete(key: string): boolean {
    return this.#kept.delete(this.#prefix + key)
  }

  deleteMany(keys: string[]): boolean {
    for (const key of keys) this.delete(key)
    return true
  }

  clear(): void {
    for (const key of this.#kept.keys()) if (key.startsWith(this.#prefix)) this.#kept.delete(key)
  }

  getRemainingTtl(key: string): number {
    return (this.#kept.get(this.#prefix + key)?.deadAt ?? this.#clock.now()) - this.#clock.now()
  }

  disconnect(): void {}
}

const engines = {
  'the memory driver': (clock: VirtualClock) => memoryDriver().factory({ clock }),
  'a foreign driver that keeps text': (clock: VirtualClock) => new TextL1(clock),
}

describe.each(Object.entries(engines))('L1 on %s', (_, make) => {
  const setup = () => {
    const clock = new VirtualClock()
    const local = new Local(make(clock), codec, clock)
    const keep = (key: string, value: unknown, o: { ttl?: number; keepFor?: number; tags?: string[] } = {}) => {
      const freshUntil = clock.now() + (o.ttl ?? 1_000)
      const text = codec.encode(value, clock.now(), freshUntil, o.tags ?? [])
      const entry = codec.entryOf(value, text, clock.now(), freshUntil, o.tags ?? [])
      return local.keep(key, entry, text, clock.now() + (o.keepFor ?? 5_000), 0)
    }
    const open = (entry: Entry | undefined) => entry && codec.open(entry)
    return { clock, local, keep, open }
  }

  test('keeps an entry with all that is known of it, for as long as it was told', async () => {
    const { clock, local, keep, open } = setup()
    expect(keep('k', { n: 1 }, { tags: ['a'] })).toBe(true)
    expect(local.find('k')).toMatchObject({ createdAt: clock.now(), freshUntil: clock.now() + 1_000, tags: ['a'] })
    expect(open(local.find('k'))).toEqual({ n: 1 })
    await clock.advance(4_999)
    expect(open(local.find('k'))).toEqual({ n: 1 })
    await clock.advance(1)
    expect(local.find('k')).toBeUndefined()
  })

  test('keeps nothing whose time is over, and drops what was there', () => {
    const { local, keep } = setup()
    keep('k', 1)
    expect(keep('k', 2, { keepFor: 0 })).toBe(false)
    expect(local.find('k')).toBeUndefined()
  })

  test('expires an entry without shortening its life', async () => {
    const { clock, local, keep, open } = setup()
    keep('k', 1)
    expect(local.expire('k', 0)).toBe(true)
    expect(local.find('k')!.freshUntil).toBe(clock.now() - 100)
    await clock.advance(4_999)
    expect(open(local.find('k'))).toBe(1)
    expect(local.expire('missing', 0)).toBe(false)
  })

  test('deletes, and says whether something lived there', async () => {
    const { clock, local, keep } = setup()
    keep('k', 1)
    keep('dead', 1, { keepFor: 10 })
    await clock.advance(10)
    expect([local.delete('k'), local.delete('k'), local.delete('dead')]).toEqual([true, false, false])
  })

  test('clears a namespace and nothing beside it; everything without one', () => {
    const { local, keep } = setup()
    for (const key of ['users:1', 'users:posts:1', 'usersAbc:1', '1']) keep(key, 1)
    local.clear('users')
    expect(['users:1', 'users:posts:1', 'usersAbc:1', '1'].map((key) => local.find(key) !== undefined)).toEqual([false, false, true, true])
    local.clear('')
    expect(local.find('1')).toBeUndefined()
  })

  test('vouches for nothing after a gap', () => {
    const { local, keep } = setup()
    keep('k', 1)
    local.unconfirm()
    const entry = local.find('k')
    expect(entry === undefined || (!entry.isConfirmed && entry.calmUntil === 0)).toBe(true)
  })
})

test('L1 keeps nothing longer than the driver\'s maxTtl, and serves it no longer either', async () => {
  const clock = new VirtualClock()
  const local = new Local(memoryDriver({ maxTtl: '2s' }).factory({ clock, maxTtl: '2s' }), codec, clock)
  const entry = codec.entryOf('v', '', clock.now(), Infinity, [])
  local.keep('k', entry, '', Infinity, 0)
  expect(entry.calmUntil).toBe(clock.now() + 2_000)
  await clock.advance(1_999)
  expect(local.find('k')).toBe(entry)
  await clock.advance(1)
  expect(local.find('k')).toBeUndefined()
})
