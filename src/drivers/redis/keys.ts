import { under } from '../../base/keys.js'

/** Names of a value's companions: its lease, and a text on its way to it. */
export class Names {
  readonly root: string
  readonly #keyPrefix: string
  readonly #isCluster: boolean

  constructor(o: { root: string; keyPrefix: string; isCluster: boolean }) {
    this.root = o.root
    this.#keyPrefix = o.keyPrefix
    this.#isCluster = o.isCluster
  }

  value(key: string): string {
    return under(this.root, key)
  }

  /** Beside the value, in its slot; undefined where a Cluster could not keep it there. */
  lease(key: string): string | undefined {
    return this.#beside('l', key)
  }

  staged(key: string, attempt: string): string | undefined {
    return this.#beside(`s:${attempt}`, key)
  }

  /** Patterns of everything below a namespace path, whole names: leases (a superset), and values. */
  patterns(path: string): { leases: string; values: string } {
    return {
      leases: escapeGlob(this.#keyPrefix + under(this.root, '___bc:l:')) + '*',
      values: escapeGlob(this.#keyPrefix + this.#scope(path)) + '*',
    }
  }

  /** Does this whole name of a lease belong to a value below the path? */
  isLeaseBelow(path: string, name: string): boolean {
    const of = name.slice((this.#keyPrefix + under(this.root, '___bc:l:')).length)
    const scope = this.#scope(path)
    return of.startsWith(scope) || of.startsWith(`{${this.#keyPrefix}${scope}`)
  }

  #scope(path: string): string {
    const scope = path ? under(this.root, path) : this.root
    return scope ? `${scope}:` : ''
  }

  #beside(what: string, key: string): string | undefined {
    const value = this.value(key)
    const whole = this.#keyPrefix + value
    const name = under(this.root, `___bc:${what}:${hashedPart(whole) === whole ? `{${whole}}` : value}`)
    if (this.#isCluster && hashedPart(this.#keyPrefix + name) !== hashedPart(whole)) return undefined
    return name
  }
}

/** What a Cluster hashes: the first `{…}` that is not empty, or else the whole name. */
export function hashedPart(name: string): string {
  const from = name.indexOf('{') + 1
  const to = from === 0 ? -1 : name.indexOf('}', from)
  return to > from ? name.slice(from, to) : name
}

export function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]^-]/g, '\\$&')
}
