import type { CacheBusMessage } from '../base/contract.js'
import type { Emitter } from '../base/options.js'

/** The public events and what they carry. `key` is relative to the view that was called. */
export interface CacheEvents {
  'cache:hit': { key: string; value: any; store: string; layer: 'l1' | 'l2'; graced: boolean }
  'cache:miss': { key: string; store: string }
  'cache:written': { key: string; value: any; store: string }
  'cache:deleted': { key: string; store: string }
  'cache:cleared': { store: string }
  'cache:expire': { key: string; store: string }
  'bus:message:published': { message: Pick<CacheBusMessage, 'keys' | 'type'> }
  'bus:message:received': { message: Pick<CacheBusMessage, 'keys' | 'type'> }
  /** A flight landed after others had joined it: a stampede that did not happen. */
  'stampede:prevented': { key: string; store: string; waiters: number }
  /** Another process's attempt stopped or was slow; this one computes in its stead. */
  'lease:takeover': { key: string; store: string }
  /** A computed result was not stored: the key was invalidated, or somebody had stored before. */
  'lease:refused': { key: string; store: string; reason: 'refused' | 'foreign' }
}

/** One event, with its name (1.6.1's shape for foreign code that builds events). */
export interface CacheEvent {
  name: keyof CacheEvents
  toJSON(): Record<string, any>
}

type Listener = (...values: any[]) => void

/** The default emitter: no Node in it, and it knows whether anybody listens. */
export class EventHub implements Emitter {
  readonly #listeners = new Map<string, Listener[]>()

  on(event: string, callback: Listener): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), callback])
  }

  once(event: string, callback: Listener): void {
    const wrapper = Object.assign((...values: any[]) => (this.off(event, callback), callback(...values)), { callback })
    this.on(event, wrapper)
  }

  off(event: string, callback: Listener): void {
    const listeners = this.#listeners.get(event) ?? []
    const at = listeners.findIndex((listener) => listener === callback || (listener as { callback?: Listener }).callback === callback)
    if (at < 0) return
    const left = listeners.toSpliced(at, 1)
    if (left.length > 0) this.#listeners.set(event, left)
    else this.#listeners.delete(event)
  }

  emit(event: string, ...values: any[]): void {
    let thrown: unknown
    for (const listener of this.#listeners.get(event) ?? []) {
      try {
        listener(...values)
      } catch (error) {
        thrown = error // the others hear it all the same
      }
    }
    if (thrown !== undefined) throw thrown
  }

  listenerCount(event: string): number {
    return this.#listeners.get(event)?.length ?? 0
  }

  get isHeard(): boolean {
    return this.#listeners.size > 0
  }
}
