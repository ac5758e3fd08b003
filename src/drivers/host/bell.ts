import { closeSync, openSync, utimesSync, watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { after, systemClock } from '../../base/clock.js'

/** After so long without anybody listening the watch is given back. */
const QUIET = 1_000

/** A file whose touching wakes those who wait in other processes. What happened, the map says. */
export class Bell {
  readonly #path: string
  readonly #rang: () => void
  #watcher: FSWatcher | undefined
  #stopClosing: (() => void) | undefined
  #isRinging = false
  #isListening = false

  constructor(path: string, rang: () => void) {
    this.#path = path
    this.#rang = rang
  }

  /** Once for everything that is committed in this turn. */
  ring(): void {
    if (this.#isRinging) return
    this.#isRinging = true
    process.nextTick(() => {
      this.#isRinging = false
      try {
        const now = Date.now() / 1_000
        utimesSync(this.#path, now, now)
      } catch {
        // The directory is gone: who waits looks again by itself.
      }
    })
  }

  /** Whether a ring will be heard. When it returns, no later one is missed. */
  listen(): boolean {
    this.#isListening = true
    this.#stopClosing?.()
    this.#stopClosing = undefined
    this.#watcher ??= this.#watch()
    return this.#watcher !== undefined
  }

  rest(): void {
    this.#isListening = false
    this.#stopClosing ??= after(systemClock, QUIET, () => this.close())
  }

  /** The file is another one. */
  renew(): void {
    const wasListening = this.#isListening
    this.close()
    if (wasListening) this.listen()
  }

  close(): void {
    this.#isListening = false
    this.#stopClosing?.()
    this.#stopClosing = undefined
    this.#watcher?.close()
    this.#watcher = undefined
  }

  #watch(): FSWatcher | undefined {
    try {
      closeSync(openSync(this.#path, 'a', 0o600))
      const watcher = watch(this.#path, { persistent: false }, () => this.#rang())
      watcher.on('error', () => {
        if (this.#watcher === watcher) this.close()
      })
      return watcher
    } catch {
      return undefined // no notifications here, or no more of them: polling is what remains
    }
  }
}
