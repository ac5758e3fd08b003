import { scopeOf } from '../base/keys.js'

/** A read or a computation of one key under way. */
export interface Pending {
  readonly key: string
  /** The key was invalidated meanwhile: the result may be served, but not kept. */
  isMarked: boolean
  /** The term a flight waits or computes in; a result stored in it is no news to the flight. */
  term: string | undefined
}

/**
 * What is under way per key, so that news can reach it. Schedule: a read is sent, the key is
 * deleted, the reply of the read arrives: it is served, but must not enter L1.
 */
export class PendingKeys {
  readonly #open = new Map<string, Set<Pending>>()
  /** How many own writes of a key are under way. */
  readonly #writes = new Map<string, number>()

  begin(key: string): Pending {
    const pending: Pending = { key, isMarked: this.#writes.has(key), term: undefined }
    const others = this.#open.get(key)
    if (others === undefined) this.#open.set(key, new Set([pending]))
    else others.add(pending)
    return pending
  }

  /**
   * An explicit write, until it is acknowledged. Schedule: L1 has what is written; news of another
   * process makes it stale; a read finds in L2 what the write has yet to replace. It would enter L1
   * and stay: nobody tells a process of its own write.
   */
  async write<T>(key: string, write: () => Promise<T>): Promise<T> {
    this.#writes.set(key, (this.#writes.get(key) ?? 0) + 1)
    try {
      return await write()
    } finally {
      const left = this.#writes.get(key)! - 1
      if (left === 0) this.#writes.delete(key)
      else this.#writes.set(key, left)
    }
  }

  end(pending: Pending): void {
    const others = this.#open.get(pending.key)
    if (others?.delete(pending) && others.size === 0) this.#open.delete(pending.key)
  }

  /** Marks what is under way, except what belongs to `term`. */
  mark(key: string, term?: string): void {
    for (const pending of this.#open.get(key) ?? []) {
      if (term === undefined || pending.term !== term) pending.isMarked = true
    }
  }

  /** Marks everything below a namespace path; `''` = everything. */
  markAll(path: string): void {
    const scope = scopeOf(path)
    for (const [key, pendings] of this.#open) {
      if (!key.startsWith(scope)) continue
      for (const pending of pendings) pending.isMarked = true
    }
  }

  get size(): number {
    return this.#open.size
  }
}
