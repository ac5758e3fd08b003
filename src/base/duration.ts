import { E_INVALID_OPTION } from './errors.js'

/** Milliseconds, or text such as `'10s'`, `'1.5h'`, `'2 days'`; `null` = never / none. */
export type Duration = number | string | null

const UNITS: Record<string, number> = {}
for (const [names, ms] of [
  ['ms msec msecs millisecond milliseconds', 1],
  ['s sec secs second seconds', 1_000],
  ['m min mins minute minutes', 60_000],
  ['h hr hrs hour hours', 3_600_000],
  ['d day days', 86_400_000],
  ['w wk wks week weeks', 604_800_000],
  ['y yr yrs year years', 31_557_600_000],
] as const) {
  for (const name of names.split(' ')) UNITS[name] = ms
}

const GRAMMAR = /^(-?\d*\.?\d+) *([a-z]*)$/i
const ALLOWED = "milliseconds, or text such as '500ms', '10s', '5m', '1h', '2d'"

/** The same few texts are parsed over and over; bounded, because texts may be computed. */
const memo = new Map<string, number>()

/**
 * Milliseconds of a duration. Text without a unit is milliseconds, as in 1.6.1.
 * @throws E_INVALID_OPTION naming `option`
 */
export function parseDuration(duration: number | string, option: string): number {
  if (typeof duration === 'number') {
    if (Number.isNaN(duration)) throw new E_INVALID_OPTION(option, duration, ALLOWED)
    return duration
  }
  if (typeof duration !== 'string') throw new E_INVALID_OPTION(option, duration, ALLOWED)
  let ms = memo.get(duration)
  if (ms === undefined) {
    const [, amount, unit] = GRAMMAR.exec(duration) ?? []
    const factor = unit === '' ? 1 : UNITS[unit?.toLowerCase() ?? '']
    if (amount === undefined || factor === undefined) throw new E_INVALID_OPTION(option, duration, ALLOWED)
    ms = Number(amount) * factor
    if (memo.size > 500) memo.clear()
    memo.set(duration, ms)
  }
  return ms
}
