import type { CacheDriver } from '../base/contract.js'
import type { RawCommonOptions } from '../base/options.js'
import { storageCases } from './storage.js'

/** What is used of japa's `test`. */
type Test = (title: string, callback: (context: any) => void | Promise<void>) => any

/** What is used of japa's group. */
interface Group {
  setup(handler: () => unknown): unknown
  tap(callback: (test: any) => void): unknown
  each: { teardown(handler: () => unknown): unknown }
}

export type CacheDriverOptions = { prefix?: string } & RawCommonOptions

/**
 * Registers, in a group of japa, what 1.6.1's suite asks of a driver (`@japa/assert` is needed).
 * The whole of it, for any runner, is `storageCases` of `bentocache/conformance`.
 */
export function registerCacheDriverTestSuite<G extends Group>(options: {
  test: Test
  group: G
  /** Called without options: a driver under a prefix of the suite's own. */
  createDriver: (options?: CacheDriverOptions) => CacheDriver<any>
  configureGroup?: (group: G) => any
  /** `false`: the engine counts whole seconds. Default `true`. */
  supportsMilliseconds?: boolean
}): void {
  const { test, group, createDriver, configureGroup } = options
  const ttlGranularity = options.supportsMilliseconds === false ? 1_000 : 500
  let driver: CacheDriver<any>

  group.setup(async () => {
    driver = await createDriver()
    return () => driver.disconnect()
  })
  group.tap((test) => test.disableTimeout())
  group.each.teardown(async () => {
    await driver.clear()
  })
  configureGroup?.(group)

  for (const { name, since161, runWith } of storageCases) {
    if (since161) test(name, ({ assert }) => runWith(driver, { createDriver, assert, ttlGranularity }))
  }
}
