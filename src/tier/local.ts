import type { Clock, L1CacheDriver, ObjectStore } from '../base/contract.js'
import type { Codec, Entry } from '../base/entry.js'
import { scopeOf } from '../base/keys.js'

/** L1: synchronous, entries in, entries out. Keys are paths: namespaces and key, no prefix. */
export class Local {
  readonly #objects: ObjectStore
  readonly #driver: L1CacheDriver
  readonly #clock: Clock
  readonly #maxTtl: number

  constructor(driver: L1CacheDriver, codec: Codec, clock: Clock) {
    this.#driver = driver
    this.#clock = clock
    this.#maxTtl = driver.maxTtl ?? Infinity
    this.#objects = driver.objects ?? new TextObjects(driver, codec, clock)
  }

  /** As it is kept: stale, unconfirmed or dead ones too. The caller judges; the hit path does it in one look. */
  read(key: string): Entry | undefined {
    return this.#objects.get(key) as Entry | undefined
  }

  /** Is it still this very entry that is kept? */
  holds(key: string, entry: Entry): boolean {
    const kept = this.#objects.get(key)
    return this.#driver.objects === undefined ? kept !== undefined : kept === entry
  }

  /** What may still be served, fresh or graced. */
  find(key: string): Entry | undefined {
    const entry = this.read(key)
    if (entry === undefined || this.#clock.now() < entry.deadAt) return entry
    this.#objects.delete(key)
    return undefined
  }

  /**
   * Keeps the entry until `until` (coordinator's clock, `offset` ahead of ours), at most `maxTtl`.
   * @returns false when it is not kept; an older one under the key is gone all the same
   */
  keep(key: string, entry: Entry, text: string | undefined, until: number, offset: number): boolean {
    const now = this.#clock.now()
    entry.deadAt = Math.min(until - offset, now + this.#maxTtl)
    entry.calmUntil = Math.min(entry.freshUntil - offset, entry.deadAt)
    if (entry.deadAt > now && this.#objects.set(key, entry, text)) return true
    this.#objects.delete(key)
    return false
  }

  delete(key: string): boolean {
    const isAlive = this.find(key) !== undefined
    return this.#objects.delete(key) && isAlive
  }

  /** Everything under a namespace path; `''` = all of the store. */
  clear(path: string): void {
    this.#objects.clear(scopeOf(path))
  }

  /** Stale from now on; grace keeps it. */
  expire(key: string, offset: number): boolean {
    const entry = this.find(key)
    if (entry === undefined) return false
    const staleAt = this.#clock.now() - 100
    entry.freshUntil = Math.min(entry.freshUntil, staleAt + offset)
    entry.calmUntil = Math.min(entry.calmUntil, staleAt)
    if (this.#driver.objects === undefined) this.#objects.set(key, entry, undefined)
    return true
  }

  /** The feed was interrupted: L2 must be asked before any of these is served. */
  unconfirm(): void {
    if (this.#driver.objects === undefined) return this.#driver.clear() // text carries no such flag
    for (const value of this.#objects.values()) {
      const entry = value as Entry
      entry.isConfirmed = false
      entry.calmUntil = 0
    }
  }

  disconnect(): void {
    this.#driver.disconnect()
  }
}

/** A foreign L1 engine, which keeps text: each read is a new entry. */
class TextObjects implements ObjectStore {
  readonly #driver: L1CacheDriver
  readonly #codec: Codec
  readonly #clock: Clock

  constructor(driver: L1CacheDriver, codec: Codec, clock: Clock) {
    this.#driver = driver
    this.#codec = codec
    this.#clock = clock
  }

  get(key: string): unknown {
    const text = this.#driver.get(key)
    const entry = text === undefined ? undefined : this.#codec.decode(text)
    if (entry !== undefined) entry.deadAt = this.#clock.now() + (this.#driver.getRemainingTtl(key) ?? Infinity)
    return entry
  }

  set(key: string, value: unknown, text: string | undefined): boolean {
    const { deadAt } = value as Entry
    const stored = text ?? this.#encode(value as Entry)
    return this.#driver.set(key, stored, deadAt === Infinity ? undefined : Math.ceil(deadAt - this.#clock.now()))
  }

  delete(key: string): boolean {
    return this.#driver.delete(key)
  }

  clear(prefix: string): void {
    if (prefix === '') this.#driver.clear()
    else this.#driver.namespace(prefix.slice(0, -1)).clear()
  }

  get size(): number {
    return 0
  }

  *values(): Iterable<unknown> {}

  #encode(entry: Entry): string {
    return this.#codec.encode(this.#codec.open(entry), entry.createdAt ?? 0, entry.freshUntil, entry.tags)
  }
}
