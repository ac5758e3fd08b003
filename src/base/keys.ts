import { E_INVALID_KEY } from './errors.js'

/** A namespace or prefix without the colons at its end. */
export function clean(prefix: string | undefined): string {
  return prefix ? prefix.replace(/:+$/, '') : ''
}

/** `key` below `prefix`; without a prefix the key itself. */
export function under(prefix: string, key: string): string {
  return prefix ? `${prefix}:${key}` : key
}

/** What every key below a namespace path begins with; `''` for the root. */
export function scopeOf(path: string): string {
  return path ? path + ':' : ''
}

/** @throws E_INVALID_KEY */
export function checkKey(key: unknown): string {
  if (typeof key === 'string') return key
  if (typeof key === 'number') return String(key)
  throw new E_INVALID_KEY(key)
}
