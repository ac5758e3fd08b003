import type { Clock } from './contract.js'

/** The machine's clock, looked up at each call so that faked timers reach the cache. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, delay) => unref(setTimeout(callback, delay)),
  clearTimeout: (handle) => clearTimeout(handle as ReturnType<typeof setTimeout>),
}

/** The longest delay a Node or browser timer takes; above it they fire at once. */
const LONGEST = 2 ** 31 - 1

/**
 * Calls back once `ms` have passed; never early, however long. Never keeps a process alive.
 * @returns what stops it
 */
export function after(clock: Clock, ms: number, callback: () => void): () => void {
  if (ms === Infinity) return () => {}
  let handle: unknown
  const arm = (left: number) => {
    handle =
      left > LONGEST
        ? clock.setTimeout(() => arm(left - LONGEST), LONGEST)
        : clock.setTimeout(callback, Math.max(0, left))
  }
  arm(ms)
  return () => clock.clearTimeout(handle)
}

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => after(clock, ms, resolve))
}

function unref<T>(timer: T): T {
  ;(timer as { unref?: () => void } | undefined)?.unref?.()
  return timer
}
