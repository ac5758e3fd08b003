import { systemClock } from '../../base/clock.js'
import { E_INVALID_OPTION } from '../../base/errors.js'
import { ignore, within } from '../../base/promises.js'

/** What every Keyv, every storage adapter and a Map have. */
export interface KeyvConnection {
  get(key: any, ...rest: any[]): any
  set(key: any, value: any, ...rest: any[]): any
  delete(key: any): any
  clear(): any
}

/** What is used of a storage adapter. That of Keyv 6 says so, and takes ends instead of durations. */
interface Adapter extends KeyvConnection {
  namespace?: string | undefined
  capabilities?: { expires?: boolean }
  store?: unknown
  getMany?(keys: string[]): any
  deleteMany?(keys: string[]): any
  iterator?(namespace?: string): AsyncIterable<[string, unknown]>
  entries?(): Iterable<[string, unknown]>
  disconnect?(): any
  on?(event: 'error', listener: (error: unknown) => void): unknown
  off?(event: 'error', listener: (error: unknown) => void): unknown
}

type Opening = KeyvConnection | (() => KeyvConnection | Promise<KeyvConnection>)

const AT_ONCE = 500
/** Rows that others add or remove move the pages of an adapter's list: what was skipped is found the next time. */
const MOST_ROUNDS = 10
/** How long `close` waits for a store that does not answer. */
const GOODBYE = 1_500

/** @throws E_INVALID_OPTION */
export function checkConnection(connection: unknown, isExclusive = false): void {
  if (typeof connection === 'function') return
  if (!isStore(connection)) {
    throw new E_INVALID_OPTION('connection', connection, 'a Keyv, a storage adapter of Keyv, a Map, or a function that makes one')
  }
  if (!isExclusive && !canList(adapterOf(connection))) {
    throw new E_INVALID_OPTION('connection', connection, 'a store that can list its keys (iterator); or say exclusive: true')
  }
}

export function openShelf(connection: Opening, isExclusive = false): Shelf {
  return new Shelf(connection, isExclusive)
}

/** A storage adapter as the driver needs it: texts by name, and no failure kept quiet. */
export class Shelf {
  readonly #connection: Opening
  readonly #isExclusive: boolean
  #opened: Promise<Opened> | undefined
  #isClosed = false
  #troubles = 0
  #trouble: unknown

  constructor(connection: Opening, isExclusive: boolean) {
    this.#connection = connection
    this.#isExclusive = isExclusive
  }

  async get(name: string): Promise<unknown> {
    return this.#ask(({ adapter, lead }) => adapter.get(lead + name), isMissing)
  }

  async getMany(names: string[]): Promise<unknown[]> {
    const chunks = await Promise.all(chunksOf(names).map((some) => this.#getSome(some)))
    return chunks.flat()
  }

  async set(name: string, text: string, ms: number | undefined): Promise<boolean> {
    const kept = await this.#ask(({ adapter, lead }) => {
      // Real time, whatever the clock of the driver: it is the adapter's own that will be compared with it.
      const end = ms !== undefined && adapter.capabilities?.expires === true ? Date.now() + ms : ms
      return adapter.set(lead + name, text, end)
    }, isMissing)
    return kept !== false
  }

  async delete(name: string): Promise<boolean> {
    return (await this.#ask(({ adapter, lead }) => adapter.delete(lead + name), isNone)) !== false
  }

  async deleteMany(names: string[]): Promise<void> {
    for (const some of chunksOf(names)) {
      await this.#ask(({ adapter, lead }) => {
        const keys = some.map((name) => lead + name)
        return adapter.deleteMany?.(keys) ?? Promise.all(keys.map((key) => adapter.delete(key)))
      }, isNone)
    }
  }

  /** Removes what begins so; `''` is everything. */
  async clear(start: string): Promise<void> {
    const { adapter } = await this.#open()
    if (this.#isExclusive && !canList(adapter)) await this.#ask(() => adapter.clear(), isMissing)
    else await this.remove(start, () => true)
  }

  async remove(start: string, isIt: (stored: unknown) => boolean): Promise<void> {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const names = await this.#list(start, isIt)
      if (names.length === 0) return
      await this.deleteMany(names)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const opened = await this.#opened?.catch(() => undefined)
    opened?.adapter.off?.('error', this.#noteTrouble)
    if (opened === undefined || typeof this.#connection !== 'function') return
    // A goodbye that fails is one that nobody was there to hear.
    const closed = Promise.resolve(opened.adapter.disconnect?.())
    ignore(closed)
    await within(systemClock, closed, GOODBYE).catch(() => {})
  }

  async #getSome(names: string[]): Promise<unknown[]> {
    const ask = ({ adapter, lead }: Opened) => {
      const keys = names.map((name) => lead + name)
      return adapter.getMany?.(keys) ?? Promise.all(keys.map((key) => adapter.get(key)))
    }
    const found: unknown[] = await this.#ask(ask, (answers: unknown[]) => answers.every(isMissing))
    return names.map((_, i) => found[i])
  }

  async #list(start: string, isIt: (stored: unknown) => boolean): Promise<string[]> {
    const { adapter, lead } = await this.#open()
    const names: string[] = []
    // Gathered before anything is deleted, because a deletion would move the pages under the list.
    for await (const [key, stored] of adapter.iterator?.(adapter.namespace) ?? adapter.entries?.() ?? []) {
      if (key.startsWith(lead + start) && isIt(stored)) names.push(key.slice(lead.length))
    }
    return names
  }

  /** Many adapters tell a failure to listeners of 'error' only, and answer as if there were nothing. */
  async #ask<T>(work: (opened: Opened) => T | Promise<T>, isNothing: (answer: T) => boolean): Promise<T> {
    const opened = await this.#open()
    const troubles = this.#troubles
    const answer = await work(opened)
    if (this.#troubles !== troubles && isNothing(answer)) throw this.#trouble
    return answer
  }

  #open(): Promise<Opened> {
    if (this.#isClosed) return Promise.reject(new Error('This driver is disconnected'))
    return (this.#opened ??= this.#openNow().catch((error) => {
      this.#opened = undefined
      throw error
    }))
  }

  async #openNow(): Promise<Opened> {
    const connection = typeof this.#connection === 'function' ? await this.#connection() : this.#connection
    checkConnection(connection, this.#isExclusive)
    const adapter = adapterOf(connection)
    adapter.on?.('error', this.#noteTrouble)
    return { adapter, lead: leadOf(connection) }
  }

  readonly #noteTrouble = (error: unknown): void => {
    this.#troubles++
    this.#trouble = error instanceof Error ? error : new Error(String(error))
  }
}

interface Opened {
  adapter: Adapter
  /** What Keyv puts in front of a key for its namespace. */
  lead: string
}

function isStore(candidate: unknown): candidate is KeyvConnection {
  const { get, set, delete: remove, clear } = (candidate ?? {}) as Partial<KeyvConnection>
  return [get, set, remove, clear].every((method) => typeof method === 'function')
}

/** The one behind a Keyv, which alone keeps `stats`; or what was passed, which may have a store of its own as well. */
function adapterOf(connection: KeyvConnection): Adapter {
  const { store, stats } = connection as { store?: unknown; stats?: unknown }
  return stats !== undefined && isStore(store) ? store : connection
}

/** As Keyv 5 does, and its adapters for SQL expect it; `useKeyPrefix: false` says that an adapter does it alone. */
function leadOf(connection: KeyvConnection): string {
  const { namespace, useKeyPrefix } = connection as { namespace?: string; useKeyPrefix?: boolean }
  return namespace && useKeyPrefix !== false ? `${namespace}:` : ''
}

/** An adapter of Keyv 6 for those of Keyv 5 has an iterator, which may have nothing behind it. */
function canList({ iterator, entries, store }: Adapter): boolean {
  if (typeof iterator !== 'function') return typeof entries === 'function'
  return !isStore(store) || canList(store)
}

function isMissing(answer: unknown): boolean {
  return answer === undefined || answer === null
}

function isNone(answer: unknown): boolean {
  return Array.isArray(answer) ? !answer.includes(true) : answer !== true
}

function chunksOf(names: string[]): string[][] {
  return Array.from({ length: Math.ceil(names.length / AT_ONCE) }, (_, i) => names.slice(i * AT_ONCE, (i + 1) * AT_ONCE))
}
