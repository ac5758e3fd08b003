import { BaseDriver } from '../../src/drivers/base-driver.js'
import type { L2CacheDriver } from '../../src/base/contract.js'
import { VirtualClock } from './clock.js'

const METHODS = ['get', 'getMany', 'pull', 'set', 'delete', 'deleteMany', 'clear', 'disconnect'] as const
export type Method = (typeof METHODS)[number]

/** Does the work, or part of it, or something else instead. */
export type Trouble = <T>(work: () => Promise<T>) => Promise<T>

export interface ChaosOptions {
  /** Ttls and slowness obey it. Default: a virtual one of its own. */
  clock?: VirtualClock
  /** Whether the driver has `getMany`. Default: no. */
  hasGetMany?: boolean
}

/**
 * An L2 in memory that counts what it is asked for and fails as it is told. Each `driver()` is one
 * more process's connection to the same storage.
 *
 * ```ts
 * const l2 = new ChaosL2({ clock })
 * bentostore().useL2Layer(l2.driver())
 * l2.ail(throwing(), 'get')
 * ```
 */
export class ChaosL2 {
  readonly clock: VirtualClock
  /** Calls per method since the last `resetCalls()`, failed ones included. */
  readonly calls: Record<Method, number>
  /** What is stored, by full key. */
  readonly kept = new Map<string, { text: string; deadAt: number }>()
  readonly #hasGetMany: boolean
  readonly #troubles = new Map<Method, Trouble>()

  constructor(o: ChaosOptions = {}) {
    this.clock = o.clock ?? new VirtualClock()
    this.calls = Object.fromEntries(METHODS.map((method) => [method, 0])) as Record<Method, number>
    this.#hasGetMany = o.hasGetMany ?? false
  }

  driver() {
    const make = this.#hasGetMany ? BatchingDriver : ChaosDriver
    return { options: {}, factory: (config: { prefix?: string }): L2CacheDriver => new make(this, config) }
  }

  /** From now on these methods (default: all of them) have this trouble. */
  ail(trouble: Trouble, ...methods: Method[]): void {
    for (const method of methods.length === 0 ? METHODS : methods) this.#troubles.set(method, trouble)
  }

  /** Ends the troubles of these methods (default: all of them). */
  heal(...methods: Method[]): void {
    for (const method of methods.length === 0 ? METHODS : methods) this.#troubles.delete(method)
  }

  resetCalls(): void {
    for (const method of METHODS) this.calls[method] = 0
  }

  /** @internal */
  async do<T>(method: Method, work: () => T): Promise<T> {
    this.calls[method]++
    const trouble = this.#troubles.get(method)
    return trouble === undefined ? work() : trouble(async () => work())
  }
}

/** Fails without doing anything. */
export function throwing(error: unknown = new Error('chaos: refused')): Trouble {
  return () => Promise.reject(error)
}

/** Takes `ms` first. */
export function slow(clock: VirtualClock, ms: number): Trouble {
  return async (work) => {
    await clock.sleep(ms)
    return work()
  }
}

/** Answers only once it is released; what it was asked for is done then. */
export function hanging(): Trouble & { release(): void } {
  let release = () => {}
  const released = new Promise<void>((resolve) => (release = resolve))
  const trouble: Trouble = async (work) => {
    await released
    return work()
  }
  return Object.assign(trouble, { release })
}

/** Does the work and fails all the same: the connection broke under the reply. */
export function losingReply(error: unknown = new Error('chaos: connection lost')): Trouble {
  return async (work) => {
    await work()
    throw error
  }
}

/** The trouble of the `n`-th call from now on (the first is 1), and of no other. */
export function onCall(n: number, trouble: Trouble): Trouble {
  let calls = 0
  return (work) => (++calls === n ? trouble(work) : work())
}

class ChaosDriver extends BaseDriver implements L2CacheDriver {
  readonly type = 'l2'
  protected readonly chaos: ChaosL2

  constructor(chaos: ChaosL2, config: { prefix?: string }) {
    super(config)
    this.chaos = chaos
  }

  namespace(namespace: string): L2CacheDriver {
    const make = this.constructor as typeof ChaosDriver
    return new make(this.chaos, { prefix: this.createNamespacePrefix(namespace) })
  }

  get(key: string): Promise<string | undefined> {
    return this.chaos.do('get', () => this.read(key))
  }

  pull(key: string): Promise<string | undefined> {
    return this.chaos.do('pull', () => {
      const text = this.read(key)
      this.#remove(key)
      return text
    })
  }

  set(key: string, text: string, ttl?: number): Promise<boolean> {
    return this.chaos.do('set', () => {
      this.chaos.kept.set(this.getItemKey(key), { text, deadAt: this.chaos.clock.now() + (ttl || Infinity) })
      return true
    })
  }

  delete(key: string): Promise<boolean> {
    return this.chaos.do('delete', () => this.#remove(key))
  }

  deleteMany(keys: string[]): Promise<boolean> {
    return this.chaos.do('deleteMany', () => {
      for (const key of keys) this.#remove(key)
      return true
    })
  }

  clear(): Promise<void> {
    return this.chaos.do('clear', () => {
      const scope = this.prefix && `${this.prefix}:`
      for (const key of this.chaos.kept.keys()) if (key.startsWith(scope)) this.chaos.kept.delete(key)
    })
  }

  disconnect(): Promise<void> {
    return this.chaos.do('disconnect', () => {})
  }

  protected read(key: string): string | undefined {
    const kept = this.chaos.kept.get(this.getItemKey(key))
    return kept !== undefined && this.chaos.clock.now() < kept.deadAt ? kept.text : undefined
  }

  #remove(key: string): boolean {
    const existed = this.read(key) !== undefined
    this.chaos.kept.delete(this.getItemKey(key))
    return existed
  }
}

class BatchingDriver extends ChaosDriver {
  getMany(keys: string[]): Promise<(string | undefined)[]> {
    return this.chaos.do('getMany', () => keys.map((key) => this.read(key)))
  }
}
