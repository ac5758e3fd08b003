import { parseDuration } from './duration.js'
import type { Duration } from './duration.js'
import { E_INVALID_OPTION } from './errors.js'
import type { E_FACTORY_ERROR } from './errors.js'
import type { RawCommonOptions } from './options.js'

/**
 * What the library reads: numbers and booleans, always all of them, never changed after they
 * were made. `Infinity` = none / never.
 */
export class Settings {
  ttl = 30 * 60_000
  grace = 0
  graceBackoff = 10_000
  timeout = 0
  hardTimeout = Infinity
  lockTimeout = Infinity
  lockAge = 30_000
  l2Timeout = 1_000
  /** While L1 holds a copy that could be served instead. */
  l2TimeoutWithCopy = 100
  suppressL2Errors: boolean | undefined = undefined
  sharesFailures = true
  onFactoryError: ((error: E_FACTORY_ERROR) => void) | undefined = undefined

  #lastRaw: RawCommonOptions | undefined
  #last: Settings | undefined

  /**
   * These settings under those of `raw`; `this` when it sets nothing. An explicit `undefined` is
   * an absent option.
   * @throws E_INVALID_OPTION
   */
  overlay(raw: RawCommonOptions | undefined): Settings {
    if (raw === undefined || isSame(raw, NOTHING)) return this
    // Ten thousand callers of one place in the user's code pass the same options: they share one object.
    if (this.#lastRaw !== undefined && this.#last !== undefined && isSame(raw, this.#lastRaw)) return this.#last
    const overlaid = this.#overlaid(raw)
    this.#lastRaw = pick(raw)
    return (this.#last = overlaid)
  }

  #overlaid(raw: RawCommonOptions): Settings {
    const next = Object.assign(new Settings(), this)
    if (raw.ttl !== undefined) next.ttl = lifetime(raw.ttl, 'ttl')
    if (raw.grace !== undefined) next.grace = graceOf(raw.grace)
    if (raw.graceBackoff !== undefined) next.graceBackoff = span(raw.graceBackoff, 'graceBackoff', 0)
    if (raw.timeout !== undefined) next.timeout = span(raw.timeout, 'timeout', Infinity)
    if (raw.hardTimeout !== undefined) next.hardTimeout = bound(raw.hardTimeout, 'hardTimeout')
    if (raw.lockTimeout !== undefined) next.lockTimeout = bound(raw.lockTimeout, 'lockTimeout')
    if (raw.lockAge !== undefined) next.lockAge = bound(raw.lockAge, 'lockAge')
    if (raw.l2Timeout !== undefined) next.l2TimeoutWithCopy = next.l2Timeout = bound(raw.l2Timeout, 'l2Timeout')
    if (raw.suppressL2Errors !== undefined) next.suppressL2Errors = raw.suppressL2Errors
    if (raw.shareFailures !== undefined) next.sharesFailures = sharing(raw.shareFailures)
    next.onFactoryError = raw.onFactoryError ?? this.onFactoryError
    return next
  }
}

/** Every option that an overlay reads. */
const NAMES = [
  'ttl', 'grace', 'graceBackoff', 'timeout', 'hardTimeout', 'lockTimeout', 'lockAge', 'l2Timeout',
  'suppressL2Errors', 'shareFailures', 'onFactoryError',
] as const satisfies (keyof RawCommonOptions)[]

function isSame(a: RawCommonOptions, b: RawCommonOptions): boolean {
  return (
    a.ttl === b.ttl && a.grace === b.grace && a.graceBackoff === b.graceBackoff && a.timeout === b.timeout &&
    a.hardTimeout === b.hardTimeout && a.lockTimeout === b.lockTimeout && a.lockAge === b.lockAge &&
    a.l2Timeout === b.l2Timeout && a.suppressL2Errors === b.suppressL2Errors &&
    a.shareFailures === b.shareFailures && a.onFactoryError === b.onFactoryError
  )
}

function pick(raw: RawCommonOptions): RawCommonOptions {
  const picked: Record<string, unknown> = {}
  for (const name of NAMES) picked[name] = raw[name]
  return picked
}

const NOTHING = pick({})

/** A ttl: whole milliseconds, `Infinity` = for ever, `0` = not kept. */
export function lifetime(duration: Duration, option: string): number {
  if (duration === null) return Infinity
  return Math.max(0, Math.ceil(parseDuration(duration, option)))
}

export function graceOf(grace: false | Duration): number {
  if ((grace as unknown) === true) throw new E_INVALID_OPTION('grace', true, "false, milliseconds, or text such as '6h'")
  return grace === false || grace === null ? 0 : lifetime(grace, 'grace')
}

/** A duration that `null` switches to `ifNull`. */
export function span(duration: Duration, option: string, ifNull: number): number {
  if (duration === null) return ifNull
  const ms = parseDuration(duration, option)
  if (ms < 0) throw new E_INVALID_OPTION(option, duration, 'a duration that is not negative, or null')
  return ms
}

/** A bound of a wait; `null` and `0` = none. */
function bound(duration: Duration, option: string): number {
  return span(duration, option, Infinity) || Infinity
}

function sharing(value: unknown): boolean {
  if (value !== 'waiters' && value !== 'off') throw new E_INVALID_OPTION('shareFailures', value, "'waiters' or 'off'")
  return value === 'waiters'
}
