import type { AsyncLocalStorage } from 'node:async_hooks'
import type { Flight } from './flights.js'

/**
 * Knows inside which flight's factory a call is made, so that a computation that waits for itself
 * is refused instead of hanging. Where there is no AsyncLocalStorage (browsers, some edge
 * runtimes) nothing is detected.
 *
 * On Node 20 and 22 a storage in use makes every promise of the process dearer, so it is in use
 * only while a factory runs.
 */
export class Recursion {
  readonly #storage: AsyncLocalStorage<Flight> | undefined
  #running = 0
  /** One that the storage's hooks have seen: with the last of them V8 discards what it has compiled for the hooks. */
  hooked: Promise<void> | undefined

  constructor() {
    const hooks = globalThis.process?.getBuiltinModule?.('node:async_hooks')
    this.#storage = hooks === undefined ? undefined : new hooks.AsyncLocalStorage()
  }

  /** The flight whose factory is making the present call. */
  current(): Flight | undefined {
    return this.#running === 0 ? undefined : this.#storage?.getStore()
  }

  async run<T>(flight: Flight, factory: () => Promise<T>): Promise<T> {
    if (this.#storage === undefined) return factory()
    this.#running++
    try {
      this.hooked ??= this.#storage.run({} as Flight, () => Promise.resolve()) // holds on to its context: not to a flight
      return await this.#storage.run(flight, factory)
    } finally {
      if (--this.#running === 0) this.#storage.disable()
    }
  }
}
