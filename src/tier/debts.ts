import { after } from '../base/clock.js'
import type { Clock } from '../base/contract.js'
import { scopeOf } from '../base/keys.js'

/** An invalidation that L2 has not acknowledged. `at` is on the coordinator's clock. */
export interface Debt {
  how: 'delete' | 'expire' | 'clear' | 'mark'
  /** A key, or for 'clear' a namespace path. */
  key: string
  at: number
}

const RETRY_EVERY = 500
const MOST = 10_000

/**
 * Invalidations that L2 owes. They are sent again until acknowledged, each as "if what is stored
 * is older than this"; meanwhile this process does not serve from L2 what they concern.
 */
export class Debts {
  readonly #clock: Clock
  /** Resolves whether the debt is paid. */
  readonly #pay: (debt: Debt) => Promise<boolean>
  readonly #dropped: (debt: Debt) => void
  readonly #owed = new Map<string, Debt>()
  #clears = 0
  #isClosed = false
  #stop: (() => void) | undefined

  constructor(o: { clock: Clock; pay: (debt: Debt) => Promise<boolean>; dropped: (debt: Debt) => void }) {
    this.#clock = o.clock
    this.#pay = o.pay
    this.#dropped = o.dropped
  }

  add(debt: Debt): void {
    if (this.#isClosed) return
    const id = debt.how === 'clear' ? `\0${debt.key}` : debt.key
    if (debt.how === 'clear' && !this.#owed.has(id)) this.#clears++
    // A later expire does not make an owed delete forget that the value must go.
    const owed = this.#owed.get(id)
    this.#owed.set(id, owed?.how === 'delete' && debt.how === 'expire' ? { ...debt, how: 'delete' } : debt)
    if (this.#owed.size > MOST) this.#drop()
    this.#arm()
  }

  /** What is owed for a key whose stored entry was created at `createdAt`. */
  of(key: string, createdAt: number | undefined): Debt | undefined {
    if (this.#owed.size === 0) return undefined
    const debt = this.#owed.get(key)
    if (debt !== undefined && (createdAt ?? 0) <= debt.at) return debt
    if (this.#clears > 0) {
      for (const clear of this.#owed.values()) {
        if (clear.how === 'clear' && key.startsWith(scopeOf(clear.key)) && (createdAt ?? 0) <= clear.at) return clear
      }
    }
    return undefined
  }

  /** The key was written or deleted since, and acknowledged. */
  settle(key: string): void {
    if (this.#owed.size > 0) this.#owed.delete(key)
  }

  close(): void {
    this.#isClosed = true
    this.#stop?.()
    this.#stop = undefined
    this.#owed.clear()
  }

  get size(): number {
    return this.#owed.size
  }

  #arm(): void {
    if (this.#stop !== undefined || this.#owed.size === 0) return
    this.#stop = after(this.#clock, RETRY_EVERY, () => {
      void this.#payAll().finally(() => {
        this.#stop = undefined
        this.#arm()
      })
    })
  }

  /** In order, up to the first that fails: an outage does not cost one timeout per key. */
  async #payAll(): Promise<void> {
    for (const [id, debt] of [...this.#owed]) {
      if (this.#owed.get(id) !== debt) continue
      if (!(await this.#pay(debt).catch(() => false))) return
      if (this.#owed.get(id) !== debt) continue
      this.#owed.delete(id)
      if (debt.how === 'clear') this.#clears--
    }
  }

  #drop(): void {
    const [id, debt] = this.#owed.entries().next().value!
    this.#owed.delete(id)
    if (debt.how === 'clear') this.#clears--
    this.#dropped(debt)
  }
}
