import { after } from '../base/clock.js'
import type { Clock, Logger } from '../base/contract.js'
import type { Duration } from '../base/duration.js'
import { span } from '../base/settings.js'

/**
 * Prunes again and again, `pruneInterval` after the last time ended; `false`, `null` and `0` never.
 * What fails is logged. Keeps no process alive.
 * @returns what stops it
 * @throws E_INVALID_OPTION naming `pruneInterval`
 */
export function pruneEvery(
  pruneInterval: Duration | false | undefined,
  o: { clock: Clock; logger: Logger | undefined; prune: () => Promise<void> }
): () => void {
  const interval = span(pruneInterval || null, 'pruneInterval', Infinity)
  let isStopped = false
  let stop = () => {}
  const arm = () => {
    if (!isStopped) stop = after(o.clock, interval, prune)
  }
  const prune = () => {
    const pruned = o.prune().catch((error) => o.logger?.error?.({ err: error }, 'pruning failed'))
    pruned.then(arm, arm)
  }
  arm()
  return () => {
    isStopped = true
    stop()
  }
}
