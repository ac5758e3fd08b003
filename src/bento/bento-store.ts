import type { CreateBusDriverResult, CreateDriverResult, StoreDescription } from '../cache/wire.js'
import type { L1CacheDriver, L2CacheDriver } from '../base/contract.js'
import type { RawStoreOptions } from '../base/options.js'
import { E_INVALID_OPTION } from '../base/errors.js'
import { Settings } from '../base/settings.js'

/** Describes a store: tiers, bus, options. Nothing is created before the store is first used. */
export class BentoStore {
  readonly #options: RawStoreOptions
  #l1: CreateDriverResult<L1CacheDriver> | undefined
  #l2: CreateDriverResult<L2CacheDriver> | undefined
  #bus: CreateBusDriverResult | undefined

  /** @throws E_INVALID_OPTION */
  constructor(options: RawStoreOptions = {}) {
    new Settings().overlay(options) // a bad option is told here, not at the first call
    this.#options = options
  }

  /** The tier in this process, such as `memoryDriver()`. @throws E_INVALID_OPTION */
  useL1Layer(driver: CreateDriverResult<L1CacheDriver>): this {
    this.#l1 = checked(driver, 'useL1Layer', 'a driver such as memoryDriver()')
    return this
  }

  /** The tier that processes share, such as `redisDriver({ connection })`. */
  useL2Layer(driver: CreateDriverResult<L2CacheDriver>): this {
    this.#l2 = checked(driver, 'useL2Layer', 'a driver such as redisDriver({ connection })')
    return this
  }

  /** Tells other processes what changed, such as `redisBusDriver({ connection })`. */
  useBus(bus: CreateBusDriverResult): this {
    this.#bus = checked(bus, 'useBus', 'a driver such as redisBusDriver({ connection })')
    return this
  }

  get entry(): StoreDescription {
    return { options: this.#options, l1: this.#l1, l2: this.#l2, bus: this.#bus }
  }
}

/** A new store description. */
export function bentostore(options?: RawStoreOptions): BentoStore {
  return new BentoStore(options)
}

function checked<T extends { factory: unknown }>(driver: T, option: string, allowed: string): T {
  if (typeof driver?.factory === 'function') return driver
  throw new E_INVALID_OPTION(option, driver, allowed)
}
