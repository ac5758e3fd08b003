import { readdir, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { systemClock } from '../../base/clock.js'
import type { Clock, L2CacheDriver, Logger } from '../../base/contract.js'
import type { Duration } from '../../base/duration.js'
import { E_INVALID_KEY, E_INVALID_OPTION } from '../../base/errors.js'
import { BaseDriver } from '../base-driver.js'
import { pruneEvery } from '../prune-every.js'
import { readKept, removeKept, writeKept } from './kept.js'
import type { Kept } from './kept.js'
import { asideOf, pathOf } from './paths.js'
import { pruneTree } from './prune.js'

export interface FileConfig {
  /** Where the files are. Made when it is not there. */
  directory: string
  /** How often expired files are removed that nobody asked for again. Default `false`: never. */
  pruneInterval?: Duration | false
  prefix?: string
}

interface Given {
  clock?: Clock
  logger?: Logger
}

/** L2 in files: one per key, shared by the processes that share the directory. */
export function fileDriver(options: FileConfig) {
  return { options, factory: (config: FileConfig & Given): FileDriver => new FileDriver(config) }
}

/** Each file holds `["<text>", <epoch ms of its end, or -1>]`; namespaces are directories (1.6.1). */
export class FileDriver extends BaseDriver implements L2CacheDriver {
  readonly type = 'l2'
  declare config: FileConfig & Given
  readonly #directory: string
  readonly #clock: Clock
  readonly #stopPruning: () => void

  constructor(config: FileConfig & Given, isNamespace = false) {
    super(config)
    if (typeof config.directory !== 'string' || config.directory === '') {
      throw new E_INVALID_OPTION('directory', config.directory, 'the path of a directory')
    }
    this.#directory = resolve(config.directory)
    this.#clock = config.clock ?? systemClock
    const prune = { clock: this.#clock, logger: config.logger, prune: () => this.prune() }
    this.#stopPruning = pruneEvery(isNamespace ? false : config.pruneInterval, prune)
  }

  namespace(namespace: string): FileDriver {
    return new FileDriver({ ...this.config, prefix: this.createNamespacePrefix(namespace) }, true)
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.#find(key))?.text
  }

  async pull(key: string): Promise<string | undefined> {
    const text = await this.get(key)
    // Of several who have read it, one removes it.
    return text !== undefined && (await this.delete(key)) ? text : undefined
  }

  async set(key: string, text: string, ttl?: number): Promise<boolean> {
    const deadAt = ttl ? this.#clock.now() + ttl : Infinity
    await writeKept(this.#directory, this.#path(key), { text, deadAt }).catch((error) => {
      throw error.code === 'ENAMETOOLONG' ? new E_INVALID_KEY(key, 'one short enough for the path of a file') : error
    })
    return true
  }

  async delete(key: string): Promise<boolean> {
    const path = this.#path(key)
    const removed = await Promise.all([removeKept(path), removeKept(asideOf(path))])
    return removed.includes(true)
  }

  async deleteMany(keys: string[]): Promise<boolean> {
    await Promise.all(keys.map((key) => this.delete(key)))
    return true
  }

  /** Milliseconds left; Infinity for ever, 0 missing. */
  async remainingTtl(key: string): Promise<number> {
    const kept = await this.#find(key)
    return kept === undefined ? 0 : kept.deadAt - this.#clock.now()
  }

  /** Without a prefix: everything in the directory. */
  async clear(): Promise<void> {
    const scope = this.#scope()
    // A file of this name is a key beside this namespace, not in it.
    if (!(await stat(scope).then((found) => found.isDirectory(), () => false))) return
    const all = this.prefix ? [scope] : (await readdir(scope)).map((name) => join(scope, name))
    await Promise.all(all.map((path) => rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })))
  }

  /** Removes what has expired, and files that are not of a cache. */
  async prune(): Promise<void> {
    await pruneTree(this.#scope(), this.#clock.now())
  }

  async disconnect(): Promise<void> {
    this.#stopPruning()
  }

  async #find(key: string): Promise<Kept | undefined> {
    const path = this.#path(key)
    for (const place of [path, asideOf(path)]) {
      const kept = await readKept(place)
      if (kept === undefined) continue
      if (kept === 'corrupt') return undefined
      if (this.#clock.now() < kept.deadAt) return kept
      await removeKept(place)
    }
    return undefined
  }

  #path(key: string): string {
    return pathOf(this.#directory, this.getItemKey(key))
  }

  #scope(): string {
    return this.prefix ? pathOf(this.#directory, this.prefix) : this.#directory
  }
}
