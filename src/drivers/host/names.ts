import { createHash } from 'node:crypto'
import { clean, scopeOf, under } from '../../base/keys.js'

/** LMDB takes 1978 bytes. */
const LONGEST = 1_900

/** `start` included, `end` not. */
export interface Range {
  start: Buffer
  end: Buffer
}

/** Between keys, which are relative to one driver's root, and the names under which all roots keep theirs. */
export class Names {
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = clean(prefix)
  }

  /** As events name it. */
  path(key: string): string {
    return under(this.#prefix, key)
  }

  /** As it is stored. */
  of(key: string): Buffer {
    return nameOf(this.path(key))
  }

  /** Everything below a namespace path; `''` = all of this root. */
  below(path: string): Range {
    const start = Buffer.from(`/${scopeOf(this.clearing(path))}`).subarray(0, LONGEST - DIGEST)
    // No byte of UTF-8 is 255, so its successor ends what begins alike.
    const end = Buffer.from(start)
    end[end.length - 1]! += 1
    return { start, end }
  }

  /** How a clear of a namespace path is told. */
  clearing(path: string): string {
    return path === '' ? this.#prefix : under(this.#prefix, clean(path))
  }

  /** The key of a path that an event names; undefined: another root's. */
  keyOf(path: string): string | undefined {
    if (this.#prefix === '') return path
    return path.startsWith(`${this.#prefix}:`) ? path.slice(this.#prefix.length + 1) : undefined
  }

  /** What of this root a clear of that path has cleared, as a namespace path. */
  cleared(path: string): string | undefined {
    if (path === '' || path === this.#prefix || this.#prefix.startsWith(`${path}:`)) return ''
    return this.keyOf(path)
  }
}

const DIGEST = 33

/** Names of ours begin alike, so that none is empty; a long one ends in a digest. */
function nameOf(path: string): Buffer {
  const name = Buffer.from(`/${path}`)
  if (name.length <= LONGEST) return name
  return Buffer.concat([name.subarray(0, LONGEST - DIGEST), Buffer.from('#'), createHash('sha256').update(name).digest()])
}
