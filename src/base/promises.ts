import { after } from './clock.js'
import type { Clock } from './contract.js'

/** What a wait answers when its time is over. */
export const LATE: unique symbol = Symbol('late')
export type Late = typeof LATE

/**
 * The promise's outcome, or LATE after `ms`. Use it only on promises that settle by themselves
 * before long: each wait is held by the promise until then.
 */
export function within<T>(clock: Clock, promise: Promise<T>, ms: number): Promise<T | Late> {
  if (ms === Infinity) return promise
  return new Promise((resolve, reject) => {
    const stop = after(clock, ms, () => resolve(LATE))
    promise.then(
      (value) => (stop(), resolve(value)),
      (error) => (stop(), reject(error))
    )
  })
}

/** For a promise whose failure has been reported elsewhere. */
export function ignore(promise: Promise<unknown>): void {
  promise.then(nothing, nothing)
}

function nothing() {}
