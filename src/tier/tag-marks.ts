import type { TagMark } from '../base/entry.js'

/** Most marks remembered; above it the oldest half goes. */
const MOST = 50_000

/**
 * What this process knows of when tags were invalidated. Keys are the marks' paths. With an L2 a
 * forgotten mark is merely unknown; without one (`isAuthority`) a forgotten mark must still hit, so
 * every unknown tag counts as invalidated at the time of the youngest that was forgotten.
 */
export class TagMarks {
  readonly #marks = new Map<string, TagMark>()
  readonly #isAuthority: boolean
  #floor = 0
  #learned = 0

  constructor(isAuthority: boolean) {
    this.#isAuthority = isAuthority
  }

  /** Position in the order of learning: what is learned from now on is above it. */
  get position(): number {
    return this.#learned
  }

  of(path: string): TagMark {
    let mark = this.#marks.get(path)
    if (mark === undefined) {
      const knownUntil = this.#isAuthority ? Infinity : -1
      mark = { time: this.#floor, knownUntil, learnedAt: this.#learned, heardAt: undefined, youngest: 0 }
      this.#marks.set(path, mark)
      if (this.#marks.size > MOST) this.#forgetOldest()
    }
    return mark
  }

  /** A mark's time only ever grows. `knownUntil`: local epoch ms. */
  learn(path: string, time: number, knownUntil: number): void {
    const mark = this.of(path)
    if (time > mark.time) {
      mark.time = time
      mark.learnedAt = mark.heardAt ?? ++this.#learned
    }
    mark.heardAt = undefined
    mark.knownUntil = this.#isAuthority ? Infinity : knownUntil
  }

  /** It was invalidated by another process; L2 knows when. */
  hear(path: string): void {
    const mark = this.of(path)
    mark.heardAt ??= ++this.#learned
    mark.knownUntil = -1
  }

  /** L2 must be asked again. */
  forgetAll(): void {
    if (this.#isAuthority) return
    for (const mark of this.#marks.values()) mark.knownUntil = -1
  }

  #forgetOldest(): void {
    let left = MOST / 2
    for (const [path, mark] of this.#marks) {
      if (left-- === 0) break
      if (this.#isAuthority) this.#floor = Math.max(this.#floor, mark.time)
      mark.knownUntil = -1 // entries may still hold it
      this.#marks.delete(path)
    }
  }
}
