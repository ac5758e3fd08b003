import type { Logger } from '../base/contract.js'

const COMMON = [
  'ttl', 'grace', 'graceBackoff', 'timeout', 'hardTimeout', 'lockTimeout', 'lockAge', 'l2Timeout', 'forceFresh',
  'suppressL2Errors', 'shareFailures', 'onFactoryError', 'tags', 'skipL2Write', 'skipBusNotify',
]
const OF_CALLS = new Set([...COMMON, 'key', 'keys', 'value', 'factory', 'defaultValue'])
const OF_STORES = new Set([
  ...COMMON, 'prefix', 'l2CircuitBreakerDuration', 'leases', 'maxL1Staleness', 'onUnverified', 'logger', 'emitter', 'serializer',
  'internalOperationWrapper', 'clock', 'waitUntil',
])

/** A misspelt or outdated option is ignored, as in 1.6.1, but not silently: one warning per name. */
export class UnknownOptions {
  readonly #log: Logger | undefined
  readonly #told = new Set<string>()

  constructor(log: Logger | undefined) {
    this.#log = log
  }

  ofStore(raw: object): void {
    this.#tell(raw, OF_STORES)
  }

  ofCall(raw: object): void {
    this.#tell(raw, OF_CALLS)
  }

  #tell(raw: object, known: ReadonlySet<string>): void {
    if (this.#log === undefined) return
    for (const option in raw) {
      if (known.has(option) || this.#told.has(option) || this.#told.size > 1_000) continue
      this.#told.add(option)
      this.#log.warn?.({ option }, `unknown option "${option}" is ignored`)
    }
  }
}
