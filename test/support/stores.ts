import type { CacheBusMessage, Logger, Transport } from '../../src/base/contract.js'
import type { GetSetFactoryContext, RawBentoCacheOptions, RawStoreOptions } from '../../src/base/options.js'
import type { BentoCachePlugin } from '../../src/bento/bento-cache.js'
import { BentoCache } from '../../src/bento/bento-cache.js'
import { bentostore } from '../../src/bento/bento-store.js'
import type { BentoStore } from '../../src/bento/bento-store.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import type { MemoryConfig } from '../../src/drivers/memory/memory.js'
import type { RetryQueueOptions } from '../../src/bus/retry-queue.js'
import { ChaosL2 } from './chaos.js'
import type { ChaosOptions } from './chaos.js'
import { VirtualClock } from './clock.js'

/** The tiers a store may have; what is promised about computing holds for each of them. */
export const SHAPES = ['L1', 'L2', 'L1+L2'] as const
/** Those with an L2. */
export const REMOTE_SHAPES = ['L2', 'L1+L2'] as const
export type Shape = (typeof SHAPES)[number] | 'L1+bus' | 'L2+bus' | 'L1+L2+bus'

export interface ProcessOptions extends Omit<RawBentoCacheOptions, 'clock'> {
  /** Options of the store, below those of the `BentoCache`. */
  store?: RawStoreOptions
  memory?: MemoryConfig
  retryQueue?: RetryQueueOptions
  plugins?: BentoCachePlugin[]
}

export type Process = BentoCache<{ main: BentoStore }>

/**
 * Processes that share one L2, one bus and one clock. The store is called `main`, and nothing in
 * here is real: time passes when the test says so.
 *
 * ```ts
 * const fleet = new Fleet()
 * const a = fleet.process('L1+L2+bus', { ttl: '1h' })
 * const b = fleet.process('L1+L2+bus', { ttl: '1h' })
 * ```
 */
export class Fleet {
  readonly clock = new VirtualClock()
  readonly l2: ChaosL2
  readonly bus = new MemoryBus()

  constructor(o: Omit<ChaosOptions, 'clock'> = {}) {
    this.l2 = new ChaosL2({ ...o, clock: this.clock })
  }

  process(shape: Shape = 'L1+L2+bus', o: ProcessOptions = {}): Process {
    const { store, memory, retryQueue, ...options } = o
    const main = bentostore(store)
    if (shape.includes('L1')) main.useL1Layer(memoryDriver(memory))
    if (shape.includes('L2')) main.useL2Layer(this.l2.driver())
    if (shape.includes('bus')) main.useBus(this.bus.driver(retryQueue))
    const bento = new BentoCache({ ...options, clock: this.clock, default: 'main', stores: { main } })
    bento.use() // connects: a process that was never used hears nothing
    return bento
  }

  /** The envelope that L2 keeps, and for how long yet; undefined when it keeps none. */
  stored(key: string, prefix = 'bentocache'): { value: any; tags?: string[]; createdAt: number; logicalExpiration: number; ttl: number } | undefined {
    const kept = this.l2.kept.get(prefix ? `${prefix}:${key}` : key)
    if (kept === undefined || kept.deadAt <= this.clock.now()) return undefined
    return { ...JSON.parse(kept.text), ttl: kept.deadAt - this.clock.now() }
  }
}

/** A factory under the test's control: each run lasts until the test ends it. */
export class Work<T = any> {
  readonly contexts: GetSetFactoryContext[] = []
  readonly #ends: PromiseWithEnds<T>[] = []

  readonly factory = (ctx: GetSetFactoryContext): Promise<T> => {
    this.contexts.push(ctx)
    const run = withEnds<T>()
    this.#ends.push(run)
    return run.promise
  }

  get runs(): number {
    return this.#ends.length
  }

  /** Ends the n-th run (the first is 1; by default the latest). */
  give(value: T, run = this.runs): void {
    this.#end(run).resolve(value)
  }

  fail(error: unknown, run = this.runs): void {
    this.#end(run).reject(error)
  }

  #end(run: number): PromiseWithEnds<T> {
    const end = this.#ends[run - 1]
    if (end === undefined) throw new Error(`the factory has run ${this.runs} times, not ${run}`)
    return end
  }
}

/** Messages between the processes of a fleet, as text, delivered before `publish` resolves. */
export class MemoryBus {
  /** What was delivered, oldest first. */
  readonly sent: CacheBusMessage[] = []
  /** Why a message cannot be sent, if it cannot. */
  trouble: ((message: CacheBusMessage) => Error | undefined) | undefined
  /** Nothing is ever answered. */
  isHanging = false
  /** Attempts to publish, failed ones included. */
  attempts = 0
  readonly #transports = new Set<MemoryTransport>()

  driver(retryQueue?: RetryQueueOptions) {
    const options = retryQueue === undefined ? {} : { retryQueue }
    return { options, factory: (): Transport => this.join(new MemoryTransport(this)) }
  }

  /** @internal */
  join(transport: MemoryTransport): MemoryTransport {
    this.#transports.add(transport)
    return transport
  }

  /** Nothing can be sent, and nobody can subscribe. */
  goDown(error: Error = new Error('bus: connection refused')): void {
    this.trouble = () => error
  }

  hang(): void {
    this.isHanging = true
  }

  /** Every process notices that its lost connection is back. */
  comeBack(o: { isNoticed: boolean } = { isNoticed: true }): void {
    this.trouble = undefined
    if (o.isNoticed) for (const transport of this.#transports) transport.reconnected?.()
  }

  /** A message of a process that is none of ours. */
  say(message: Omit<CacheBusMessage, 'namespace'> & { namespace?: string }): void {
    this.deliver('bentocache.notifications:main', { namespace: 'bentocache', ...message }, 'z'.repeat(24))
  }

  /** @internal */
  deliver(channel: string, message: CacheBusMessage, from: string): void {
    this.sent.push(message)
    const text = JSON.stringify(message)
    for (const transport of this.#transports) {
      if (transport.id !== from) transport.handlers.get(channel)?.(JSON.parse(text), from)
    }
  }

  /** @internal */
  leave(transport: MemoryTransport): void {
    this.#transports.delete(transport)
  }
}

class MemoryTransport implements Transport {
  id = ''
  reconnected: (() => void) | undefined
  readonly handlers = new Map<string, (payload: any, id: string) => void>()
  readonly #bus: MemoryBus

  constructor(bus: MemoryBus) {
    this.#bus = bus
  }

  setId(id: string): this {
    this.id = id
    return this
  }

  onReconnect(callback: () => void): void {
    this.reconnected = callback
  }

  async publish(channel: string, payload: Record<string, unknown>): Promise<void> {
    const message = payload as unknown as CacheBusMessage
    this.#bus.attempts++
    const trouble = this.#bus.trouble?.(message)
    if (trouble !== undefined) throw trouble
    if (this.#bus.isHanging) return new Promise(() => {})
    await undefined
    this.#bus.deliver(channel, message, this.id)
  }

  async subscribe(channel: string, handler: (payload: any, id: string) => void): Promise<void> {
    const trouble = this.#bus.trouble?.({ type: 'set', keys: [], namespace: '' })
    if (trouble !== undefined) throw trouble
    this.handlers.set(channel, handler)
  }

  async unsubscribe(channel: string): Promise<void> {
    this.handlers.delete(channel)
  }

  async disconnect(): Promise<void> {
    this.#bus.leave(this)
  }
}

/** A logger of pino's shape that remembers what it was told. */
export class LogBook implements Logger {
  readonly lines: { level: string; fields: any; text: string; bindings: any }[]
  readonly #bindings: any

  constructor(lines: LogBook['lines'] = [], bindings: any = {}) {
    this.lines = lines
    this.#bindings = bindings
  }

  /** Lines of that level whose text matches. */
  of(level: string, text: RegExp = /(?:)/): LogBook['lines'] {
    return this.lines.filter((line) => line.level === level && text.test(line.text))
  }

  trace = (...args: any[]) => this.#write('trace', args)
  debug = (...args: any[]) => this.#write('debug', args)
  info = (...args: any[]) => this.#write('info', args)
  warn = (...args: any[]) => this.#write('warn', args)
  error = (...args: any[]) => this.#write('error', args)
  fatal = (...args: any[]) => this.#write('fatal', args)

  child(bindings: any): LogBook {
    return new LogBook(this.lines, { ...this.#bindings, ...bindings })
  }

  #write(level: string, args: any[]): void {
    const [fields, text] = typeof args[0] === 'string' ? [{}, args[0]] : [args[0], args[1] ?? '']
    this.lines.push({ level, fields, text, bindings: this.#bindings })
  }
}

/** Rejections that nobody handled while the work went on. */
export async function unhandledDuring(work: () => Promise<unknown>): Promise<unknown[]> {
  const unhandled: unknown[] = []
  const note = (reason: unknown) => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  try {
    await work()
    // Node reports them once the microtasks have run.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  } finally {
    process.off('unhandledRejection', note)
  }
  return unhandled
}

/** The error of a promise that is to reject. */
export async function errorOf(promise: Promise<unknown>): Promise<any> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error
  }
  throw new Error(`resolved with ${JSON.stringify(value)} instead of rejecting`)
}

interface PromiseWithEnds<T> {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: unknown) => void
}

function withEnds<T>(): PromiseWithEnds<T> {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((yes, no) => ((resolve = yes), (reject = no)))
  return { promise, resolve, reject }
}
