import { E_INVALID_OPTION } from './errors.js'

/** A size in bytes: a number, or text such as `'10mb'` (1024-based). */
export type Bytes = number | string

const UNITS: Record<string, number> = { b: 1, kb: 2 ** 10, mb: 2 ** 20, gb: 2 ** 30, tb: 2 ** 40, pb: 2 ** 50 }

/** @throws E_INVALID_OPTION naming `option` */
export function parseBytes(size: Bytes, option: string): number {
  if (typeof size === 'number' && size > 0) return Math.floor(size)
  if (typeof size === 'string') {
    const [, amount, unit] = /^(\d*\.?\d+) *([a-z]*)$/i.exec(size) ?? []
    const factor = unit === '' ? 1 : UNITS[unit?.toLowerCase() ?? '']
    if (amount !== undefined && factor !== undefined) return Math.floor(Number(amount) * factor)
  }
  throw new E_INVALID_OPTION(option, size, "bytes, or text such as '500kb', '10mb', '1gb'")
}

/** Length of a text in UTF-8, without encoding it. */
export function utf8Length(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes += 1
    else if (unit >= 0xd800 && unit < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) (bytes += 2), i++
    else bytes += 2
  }
  return bytes
}
