import type { Clock } from './contract.js'

/** The machine's clock, looked up at each call so that faked timers reach the cache. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, delay) => unref(setTimeout(callback, delay)),
  clearTimeout: (handle) => clearTimeout(handle as ReturnType<typeof setTimeout>),
}

/** The longest delay a Node or browser timer takes; above it they fire at once. */
const LONGEST = 2 ** 31 - 1

/** A timer that fires so late, ms, had a blocked event loop before it. */
export const BLOCKED = 20

/** Turns of the event loop in which what has arrived meanwhile is read: one for the socket, one for what that asks. */
const TURNS = 2

/**
 * Calls back once `ms` have passed; never early, however long. Never keeps a process alive.
 *
 * After a block Node runs timers before it reads sockets: the answer that came in time lies there
 * unread. So a late timer lets the sockets go first, or each block would look like a silent server.
 * @returns what stops it
 */
export function after(clock: Clock, ms: number, callback: () => void): () => void {
  if (ms === Infinity) return () => {}
  const due = clock.now() + ms
  let handle: unknown
  const arm = (left: number) => {
    handle =
      left > LONGEST
        ? clock.setTimeout(() => arm(left - LONGEST), LONGEST)
        : clock.setTimeout(() => (clock.now() - due > BLOCKED ? listen(TURNS) : callback()), Math.max(0, left))
  }
  const listen = (turns: number) => {
    handle = clock.setTimeout(turns > 1 ? () => listen(turns - 1) : callback, 1)
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
