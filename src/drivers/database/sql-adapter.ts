import { systemClock } from '../../base/clock.js'
import type { Clock } from '../../base/contract.js'
import { E_INVALID_KEY } from '../../base/errors.js'
import type { DatabaseAdapter } from './database.js'
import { EXACT_COLLATIONS, endFor, endOf, layoutOf } from './layout.js'
import type { Layout } from './layout.js'
import type { Condition, SqlTable } from './sql-table.js'
import { isBelow, needsStandIn, patternBelow, standInFor } from './stand-in.js'

/** Parameters of one statement: SQLite takes no more than 999 where it is old. */
const MOST_KEYS = 500

interface Kept {
  value: any
  expiresAt: number | null
}

/**
 * What the adapters have in common: tables of any maker, and keys that are equal only if their
 * bytes are, on engines that see it differently.
 */
export class SqlAdapter implements DatabaseAdapter {
  readonly #open: (tableName: string) => SqlTable
  readonly #clock: Clock
  #table: SqlTable
  #layout: Promise<Layout> | undefined

  constructor(open: (tableName: string) => SqlTable, { clock = systemClock }: { clock?: Clock } = {}) {
    this.#open = open
    this.#clock = clock
    this.#table = open('bentocache')
  }

  setTableName(tableName: string): void {
    this.#table = this.#open(tableName)
    this.#layout = undefined
  }

  async get(key: string): Promise<Kept | undefined> {
    return (await this.getMany([key]))[0]
  }

  async getMany(keys: string[]): Promise<(Kept | undefined)[]> {
    const layout = await this.#known()
    const rows = new Map<string, Kept>()
    for (const names of inChunks(keys.flatMap((key) => namesOf(key, layout)))) {
      for (const { key, value, expires } of await this.#table.rows([['key', 'in', names]])) {
        rows.set(String(key), { value, expiresAt: endOf(expires) })
      }
    }
    // By the key that came back: the engine may have answered with the row of another one.
    return keys.map((key) => namesOf(key, layout).map((name) => rows.get(name)).find((row) => row !== undefined))
  }

  async set({ key, value, expiresAt }: { key: string; value: any; expiresAt: Date | null }): Promise<void> {
    const layout = await this.#known()
    if ([...key].length > layout.longest) throw new E_INVALID_KEY(key, `at most ${layout.longest} characters, prefix included`)
    const { name, outdated } = layout.isExact ? { name: key, outdated: [] } : await this.#placeFor(key, layout)
    await this.#table.upsert({ key: name, value, expires_at: endFor(layout, expiresAt && expiresAt.getTime()) })
    if (outdated.length > 0) await this.#table.delete([['key', 'in', outdated]])
  }

  async delete(key: string): Promise<boolean> {
    return (await this.deleteMany([key])) > 0
  }

  async deleteMany(keys: string[]): Promise<number> {
    const layout = await this.#known()
    let count = 0
    for (const names of inChunks(keys.flatMap((key) => namesOf(key, layout)))) {
      const stored = layout.isExact ? names : await this.#stored(names)
      if (stored.length > 0) count += await this.#table.delete([['key', 'in', stored]])
    }
    return count
  }

  async deleteIfExpired(key: string): Promise<void> {
    const layout = await this.#known()
    await this.#table.delete([['key', 'in', namesOf(key, layout)], this.#hasEnded(layout)])
  }

  async clear(prefix: string): Promise<void> {
    const layout = await this.#known()
    if (prefix === '') await this.#table.delete([])
    else if (!layout.isExact) await this.#clearByHand(prefix)
    else if (this.#table.engine === 'postgres') await this.#table.delete([['key', 'like', escapeLike(prefix) + '%']])
    // SQLite's LIKE folds letters. A prefix ends in a colon, and bytes are what sorts here: ';' comes next.
    else await this.#table.delete([['key', '>=', prefix], ['key', '<', prefix.slice(0, -1) + ';']])
  }

  async pruneExpiredEntries(): Promise<void> {
    await this.#table.delete([this.#hasEnded(await this.#known())])
  }

  async createTableIfNotExists(): Promise<void> {
    if (await this.#isThere()) return
    try {
      const collations = this.#table.engine === 'mysql' ? await this.#table.collations!(EXACT_COLLATIONS) : []
      await this.#table.create(collations[0])
    } catch (error) {
      // Two processes find no table, both create it: the second is told that it exists.
      if (!(await this.#isThere())) throw error
    }
  }

  disconnect(): Promise<void> {
    return this.#table.close()
  }

  /** Asked once, of the table as it is; a question that failed is asked again. */
  #known(): Promise<Layout> {
    return (this.#layout ??= layoutOf(this.#table).catch((error) => {
      this.#layout = undefined
      throw error
    }))
  }

  #isThere(): Promise<boolean> {
    return this.#table.keys([], 1).then(() => true, () => false)
  }

  #hasEnded(layout: Layout): Condition {
    const now = this.#clock.now()
    return ['expires_at', '<=', layout.isDate ? new Date(now) : now]
  }

  /** Under its own name unless somebody else has that; `outdated` is where it was before. */
  async #placeFor(key: string, layout: Layout): Promise<{ name: string; outdated: string[] }> {
    const names = namesOf(key, layout)
    const stored = (await this.#table.keys([['key', 'in', names]], 10)).map(String)
    const isTaken = stored.some((name) => !names.includes(name))
    const name = isTaken ? names.at(-1)! : names[0]!
    return { name, outdated: names.filter((other) => other !== name && stored.includes(other)) }
  }

  /** Those of the names that are there as they are. */
  async #stored(names: string[]): Promise<string[]> {
    const asked = new Set(names)
    const found = await this.#table.keys([['key', 'in', names]], 2 * names.length)
    return found.map(String).filter((name) => asked.has(name))
  }

  /** Where patterns fold letters too: what they match is looked at here. */
  async #clearByHand(prefix: string): Promise<void> {
    const matches: Condition = ['key', 'like', patternBelow(prefix)]
    for (let after: Condition[] = [], page: string[]; ; after = [['key', '>', page.at(-1)]]) {
      page = (await this.#table.keys([matches, ...after], MOST_KEYS)).map(String)
      const below = page.filter((name) => isBelow(prefix, name))
      if (below.length > 0) await this.#table.delete([['key', 'in', below]])
      if (page.length < MOST_KEYS) return
    }
  }
}

/** Where the row of a key may be, the likelier place first. */
function namesOf(key: string, layout: Layout): string[] {
  if (layout.isExact) return [key]
  const standIn = standInFor(key, layout.longest)
  return needsStandIn(key, layout) ? [standIn] : [key, standIn]
}

function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&')
}

function inChunks(names: string[]): string[][] {
  const chunks: string[][] = []
  for (let at = 0; at < names.length; at += MOST_KEYS) chunks.push(names.slice(at, at + MOST_KEYS))
  return chunks
}
