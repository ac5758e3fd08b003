import { BLOCKED, after } from '../base/clock.js'
import type { Clock } from '../base/contract.js'
import { E_L2_CACHE_ERROR } from '../base/errors.js'
import type { InternalOperationWrapper } from '../base/options.js'
import { LATE, ignore, within } from '../base/promises.js'

/** While L2 is known to be down it is asked this often whether it is back. */
const PROBE_EVERY = 500
/** A probe that has not answered for so long is given up; the next one is sent beside it. */
const PROBE_LIFE = 2_000

export interface GuardOptions {
  clock: Clock
  /** Asks the engine something that fails as long as it cannot serve. */
  probe: () => Promise<unknown>
  /** Is this rejection an outage, or an answer that says no? */
  isOutage: (error: unknown) => boolean
  /** `l2CircuitBreakerDuration`; undefined: none. */
  breakerDuration: number | undefined
  wrap: InternalOperationWrapper | undefined
  report: (what: 'failed' | 'skipped' | 'down' | 'up', error?: unknown) => void
}

/**
 * What stands between the flows and an L2 engine: bounds each wait, turns rejections into
 * answers, and leaves an engine alone that is known to be down. One per store.
 *
 * An outage (connection lost, no answer within `l2Timeout`) is known until a probe succeeds.
 * The breaker, if configured, opens on any failure; after its duration one operation is let
 * through, and decides.
 */
export class Guard {
  readonly #o: GuardOptions
  #downSince: number | undefined
  #stopProbing: (() => void) | undefined
  /** When the probe was sent that has not answered yet. */
  #probedAt: number | undefined
  #breaksUntil: number | undefined
  #isTrying = false

  constructor(options: GuardOptions) {
    this.#o = options
  }

  /** Local epoch ms at which the operation was sent that found the outage; undefined: L2 is there. */
  get downSince(): number | undefined {
    return this.#downSince
  }

  /**
   * The operation's answer, or why there is none. The caller waits `bound` ms at most; the
   * operation may still take effect later. Not answered after `outageAfter` ms = an outage.
   */
  async run<T>(operation: () => Promise<T>, bound: number, outageAfter = bound): Promise<T | E_L2_CACHE_ERROR> {
    const { clock, wrap } = this.#o
    if (this.#downSince !== undefined) return this.#skip()
    const isTrial = this.#breaksUntil !== undefined
    if (isTrial && (this.#isTrying || clock.now() < this.#breaksUntil!)) return this.#skip()
    if (isTrial) this.#isTrying = true

    const sentAt = clock.now()
    try {
      const answer = wrap === undefined ? operation() : wrap(operation)
      const settled = await answered(clock, answer, bound)
      if (settled !== LATE) {
        if (isTrial) this.#mend()
        return settled
      }
      ignore(answer)
      if (outageAfter <= bound) this.#fell(sentAt)
      else this.#watch(answer, sentAt, outageAfter - bound)
      return this.#failed(new Error(`No answer within ${bound} ms`), isTrial)
    } catch (error) {
      if (this.#o.isOutage(error)) this.#fell(sentAt)
      return this.#failed(error, isTrial)
    }
  }

  /** Somebody learned elsewhere that L2 answers again. */
  isBack(): void {
    if (this.#downSince === undefined) return
    this.close()
    this.#downSince = undefined
    this.#o.report('up')
  }

  /** Asks no more whether L2 is back. */
  close(): void {
    this.#stopProbing?.()
    this.#stopProbing = undefined
  }

  #skip(): E_L2_CACHE_ERROR {
    this.#o.report('skipped')
    return new E_L2_CACHE_ERROR(new Error('L2 is known to be down: not asked'))
  }

  #failed(error: unknown, isTrial: boolean): E_L2_CACHE_ERROR {
    const { breakerDuration, clock } = this.#o
    // An open breaker stays open no longer because of what had been sent before it opened.
    if (breakerDuration && (isTrial || this.#breaksUntil === undefined)) this.#breaksUntil = clock.now() + breakerDuration
    if (isTrial) this.#isTrying = false
    this.#o.report('failed', error)
    return new E_L2_CACHE_ERROR(error)
  }

  #mend(): void {
    this.#isTrying = false
    this.#breaksUntil = undefined
  }

  #fell(since: number): void {
    if (this.#downSince !== undefined) return
    this.#downSince = since
    this.#o.report('down')
    this.#probeLater()
  }

  /** A bounded caller has gone; the operation itself still tells whether L2 is there. */
  #watch(answer: Promise<unknown>, sentAt: number, ms: number): void {
    within(this.#o.clock, answer, ms).then(
      (settled) => settled === LATE && this.#fell(sentAt),
      (error) => this.#o.isOutage(error) && this.#fell(sentAt)
    )
  }

  /** Nobody waits for a probe: it runs beside the calls that are skipped, and also while there are none. */
  #probeLater(): void {
    this.#stopProbing = after(this.#o.clock, PROBE_EVERY, () => {
      this.#probeLater()
      this.#probe()
    })
  }

  #probe(): void {
    const now = this.#o.clock.now()
    if (this.#probedAt !== undefined && now - this.#probedAt < PROBE_LIFE) return
    this.#probedAt = now
    const answered = (isBack: boolean) => {
      this.#probedAt = undefined
      if (isBack) this.isBack()
    }
    // A probe that throws synchronously is a probe that failed.
    new Promise((resolve) => resolve(this.#o.probe())).then(
      () => answered(true),
      (error) => answered(!this.#o.isOutage(error))
    )
  }
}

/**
 * Time in which our own event loop was blocked is no silence of the engine's: the request may not even
 * have been written. It is given once more, up to the bound.
 */
async function answered<T>(clock: Clock, answer: Promise<T>, bound: number): Promise<T | typeof LATE> {
  const due = clock.now() + bound
  const settled = await within(clock, answer, bound)
  if (settled !== LATE) return settled
  const lateBy = clock.now() - due
  return lateBy > BLOCKED ? within(clock, answer, Math.min(lateBy, bound)) : LATE
}

/** Of the system; of PostgreSQL that is told to stop, has crashed or is starting; of MySQL and MariaDB by mysql2. */
const CODES =
  /^(ECONNREFUSED|ECONNRESET|ETIMEDOUT|EPIPE|ENOTFOUND|EHOSTUNREACH|EAI_AGAIN|ENETUNREACH|57P0[123]|PROTOCOL_CONNECTION_LOST|ER_SERVER_SHUTDOWN)$/
/** Of ioredis; of knex, whose pool got no connection in time. */
const NAMES = /^(MaxRetriesPerRequest|KnexTimeout)Error$/
/** Of Redis and its clients; of pg and its pool. */
const MESSAGES =
  /^(Connection (is closed|terminated)|Stream isn't writeable|The client is closed|LOADING|CLUSTERDOWN|MASTERDOWN|READONLY|timeout e(xpired|xceeded when trying to connect))/

/** For engines that do not say it themselves. */
export function looksLikeOutage(error: unknown): boolean {
  const { code = '', name = '', message = '' } = (error ?? {}) as { code?: string; name?: string; message?: string }
  return CODES.test(code) || NAMES.test(name) || MESSAGES.test(message)
}
