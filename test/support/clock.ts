import type { Clock } from '../../src/base/contract.js'

interface Timer {
  at: number
  /** undefined: cleared. */
  callback: (() => void) | undefined
}

/**
 * Time that passes only when a test says so. Timers fire in the order of their time, and in the
 * order they were set within one millisecond; between any two, promises settle.
 */
export class VirtualClock implements Clock {
  #now: number
  /** By time, then in the order they were set. */
  #timers: Timer[] = []
  #pending = 0

  constructor(now = 1_700_000_000_000) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  setTimeout(callback: () => void, delay: number): unknown {
    const timer = { at: this.#now + Math.max(0, delay), callback }
    let i = this.#timers.length
    while (i > 0 && this.#timers[i - 1]!.at > timer.at) i--
    this.#timers.splice(i, 0, timer)
    this.#pending++
    return timer
  }

  clearTimeout(handle: unknown): void {
    const timer = handle as Timer | undefined
    if (timer?.callback === undefined) return
    timer.callback = undefined
    this.#pending--
    // Cleared ones must not pile up: tests measure memory.
    if (this.#timers.length > 1_000 && this.#pending < this.#timers.length / 2) {
      this.#timers = this.#timers.filter(({ callback }) => callback !== undefined)
    }
  }

  /** Timers that are set and neither fired nor cleared. */
  get pending(): number {
    return this.#pending
  }

  /** For a factory that takes its time: resolves once `ms` have been advanced. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.setTimeout(resolve, ms))
  }

  /** Lets `ms` pass. `advance(0)` fires what is due now. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settle()
    while (this.#next() <= end) await this.#fire()
    this.#now = end
  }

  /** The event loop is busy for so long: time passes and no timer fires. */
  block(ms: number): void {
    this.#now += ms
  }

  /** Jumps from timer to timer until the promise has settled; its outcome. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const done = () => void (isSettled = true)
    promise.then(done, done)
    await settle()
    while (!isSettled) {
      if (this.#next() === Infinity) throw new Error('no timer is left that could settle this promise')
      await this.#fire()
    }
    return promise
  }

  /** When the next timer is due. */
  #next(): number {
    while (this.#timers.length > 0 && this.#timers[0]!.callback === undefined) this.#timers.shift()
    return this.#timers[0]?.at ?? Infinity
  }

  async #fire(): Promise<void> {
    const timer = this.#timers.shift()!
    const callback = timer.callback!
    this.clearTimeout(timer)
    this.#now = Math.max(this.#now, timer.at)
    callback()
    await settle()
  }
}

/** Deep enough for any chain of promises in here; far cheaper than a turn of the event loop. */
const ROUNDS = 100

/** Lets everything run that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) await undefined
}
