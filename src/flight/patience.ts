import type { Settings } from '../base/settings.js'

/** How long a caller waits for a flight, from the moment of its call, and what ends the wait. */
export interface Patience {
  ms: number
  then: 'stale' | 'lock' | 'hard'
}

/**
 * | caller   | stale value to serve | settings       | waits | then                          |
 * |----------|----------------------|----------------|-------|-------------------------------|
 * | any      | yes                  | timeout: 0     | 0     | stale (refreshed behind it)   |
 * | follower | any                  | lockTimeout: n | n     | stale, else E_LOCK_TIMEOUT    |
 * | any      | yes                  | timeout: n     | n     | stale                         |
 * | any      | yes                  | no timeout, hardTimeout: n | n | stale                 |
 * | any      | no                   | hardTimeout: n | n     | E_FACTORY_HARD_TIMEOUT        |
 *
 * The shortest bound that applies ends the wait; without any, the flight does.
 */
export function patience(settings: Settings, hasFallback: boolean, isLeading: boolean): Patience {
  let ms = Infinity
  let then: Patience['then'] = 'stale'
  if (hasFallback) {
    ms = settings.timeout === Infinity ? settings.hardTimeout : settings.timeout
  } else if (settings.hardTimeout < Infinity) {
    ms = settings.hardTimeout
    then = 'hard'
  }
  if (!isLeading && settings.lockTimeout < ms) {
    ms = settings.lockTimeout
    then = hasFallback ? 'stale' : 'lock'
  }
  return { ms, then }
}
