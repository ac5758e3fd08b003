import type { SqlTable } from './sql-table.js'

/** How a table, whoever made it, keeps keys and ends. */
export interface Layout {
  /** `expires_at` is a moment, not a number of ms. */
  isDate: boolean
  /** It forgets milliseconds. */
  isWholeSeconds: boolean
  /** The latest moment it can hold, epoch ms. */
  latest: number
  /** The column takes two keys for one only if they are the same byte for byte. */
  isExact: boolean
  /** Characters a key may have. */
  longest: number
  /** A character that does not fit into the column; undefined: all do. */
  foreign: RegExp | undefined
}

/** MySQL and MariaDB: these neither fold letters nor forget spaces at the end. */
export const EXACT_COLLATIONS = ['utf8mb4_nopad_bin', 'utf8mb4_0900_bin']

const EXACT = { isWholeSeconds: false, latest: Infinity, isExact: true, longest: Infinity, foreign: undefined } as const
const NOT_ASCII = /[^\0-\x7f]/
/** By the character set of the column. */
const FOREIGN: Record<string, RegExp> = {
  utf8: /[^\0-\uffff]/u,
  utf8mb3: /[^\0-\uffff]/u,
  latin1: /[^\0-\x7f\xa0-\xff]/,
}
const END_OF_TIMESTAMP = Date.UTC(2038, 0, 19, 3, 14, 7)

export async function layoutOf(table: SqlTable): Promise<Layout> {
  if (table.engine === 'sqlite') return { ...EXACT, isDate: false }
  if (table.engine === 'postgres') return { ...EXACT, isDate: isDate(await table.typeOfEnd!()) }
  const columns = await table.columns!()
  const key = columns.find(({ name }) => name === 'key')
  const end = columns.find(({ name }) => name === 'expires_at')
  const type = end?.type ?? 'timestamp'
  return {
    isDate: isDate(type),
    isWholeSeconds: Number(end?.precision ?? 0) === 0,
    latest: type === 'timestamp' ? END_OF_TIMESTAMP : Infinity,
    isExact: key !== undefined && (key.charset === null || EXACT_COLLATIONS.includes(key.collation ?? '')),
    longest: Number(key?.length ?? 255),
    foreign: key?.charset === 'utf8mb4' || !key?.charset ? undefined : (FOREIGN[key.charset] ?? NOT_ASCII),
  }
}

/** An end as the column takes it: rounded up where it forgets a part. */
export function endFor(layout: Layout, end: number | null): Date | number | null {
  if (end === null) return null
  const whole = layout.isDate && layout.isWholeSeconds ? Math.ceil(end / 1_000) * 1_000 : end
  const latest = Math.min(whole, layout.latest)
  return layout.isDate ? new Date(latest) : latest
}

/** Epoch ms of an end as a client hands it out: a number, digits, a moment or its text. */
export function endOf(stored: unknown): number | null {
  if (stored === null || stored === undefined) return null
  if (typeof stored === 'string') return /^\d+$/.test(stored) ? Number(stored) : Date.parse(stored)
  return Number(stored)
}

function isDate(type: string): boolean {
  return /timestamp|date/i.test(type)
}
