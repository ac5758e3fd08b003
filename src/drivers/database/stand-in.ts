import { createHash } from 'node:crypto'
import type { Layout } from './layout.js'

const MARK = '~bc-'

/**
 * MySQL's usual collations take `session:ABC` for `session:abc`, and so does the primary key of a
 * table that 1.6.1 made. There, a key whose row belongs to another one lies under a stand-in:
 * itself, and a digest of its bytes in letters that no collation folds.
 */
export function standInFor(key: string, longest: number): string {
  const digest = MARK + createHash('sha256').update(key).digest('hex')
  return asciiOf([...key].slice(0, Math.max(0, longest - digest.length)).join('')) + digest
}

/** Must the key not have a row of its own? It looks like a stand-in, or the column would cut it. */
export function needsStandIn(key: string, { foreign }: Layout): boolean {
  return isStandIn(key) || foreign?.test(key) === true
}

/** Could the row of this name be of a key that begins so? */
export function isBelow(prefix: string, name: string): boolean {
  return name.startsWith(prefix) || (isStandIn(name) && name.startsWith(asciiOf(prefix)))
}

/** A `LIKE` that matches all that is below a prefix, and may match more. */
export function patternBelow(prefix: string): string {
  return asciiOf(prefix).replaceAll('\\', '_') + '%'
}

export function isStandIn(name: string): boolean {
  return /~bc-[0-9a-f]{64}$/i.test(name)
}

/** What no column can hold is a `_`, which in a `LIKE` stands for any character. */
function asciiOf(text: string): string {
  return text.replace(/[^\0-\x7f]/gu, '_')
}
