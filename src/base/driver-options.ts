import type { Clock, L1CacheDriver, L2CacheDriver, Logger, Transport } from './contract.js'

/** Options that every driver understands (1.6.1). */
export interface DriverCommonOptions {
  prefix?: string
}

/** What a store adds to a driver's options. */
export interface DriverCommonInternalOptions {
  logger?: Logger
  clock?: Clock
}

/** The drivers of one store. */
export interface CacheStackDrivers {
  l1Driver?: L1CacheDriver
  l2Driver?: L2CacheDriver
  busDriver?: Transport
}

/** SQL engines by the names that knex and 1.6.1 give them. */
export type DialectName = 'pg' | 'mysql2' | 'better-sqlite3' | 'sqlite3'
