import { createHash } from 'node:crypto'
import { basename, dirname, join } from 'node:path'

/** Names that begin so are ours; a key's part that does is escaped. */
const MARK = '~bc-'
const LONGEST_NAME = 255
/** File systems that take `A` for `a`, or one spelling of `é` for another. */
const FOLDS = process.platform === 'win32' || process.platform === 'darwin'

/**
 * Where a key lies: each part between its colons is a directory, the last one the file (1.6.1).
 * A part that cannot be a name by itself, or would mean another place, is escaped.
 */
export function pathOf(directory: string, key: string, folds = FOLDS): string {
  return join(directory, ...key.split(':').map((part) => nameOf(part, folds)))
}

/** Where the file lies while a directory has its name: keys `user` and `user:1`. */
export function asideOf(path: string): string {
  const name = basename(path)
  const aside = `${MARK}f~${name}`
  return join(dirname(path), Buffer.byteLength(aside) <= LONGEST_NAME ? aside : `${MARK}fh~${digest(name)}`)
}

/** A name for what is being written; nobody else has it. */
export function draftOf(path: string): string {
  return join(dirname(path), `${MARK}t~${crypto.randomUUID()}`)
}

export function isDraft(name: string): boolean {
  return name.startsWith(`${MARK}t~`)
}

function nameOf(part: string, folds: boolean): string {
  if (folds ? isPlainAnywhere(part) : isPlain(part)) return part
  const escaped = part.replace(/[^a-z0-9_-]/g, (unit) => '%' + unit.charCodeAt(0).toString(16).padStart(4, '0'))
  return escaped.length <= 200 ? `${MARK}e~${escaped}` : `${MARK}eh~${digest(part)}`
}

function isPlain(part: string): boolean {
  return /^(?!~bc-|\.{1,2}$)[^/\0\p{Surrogate}]+$/u.test(part) && Buffer.byteLength(part) <= LONGEST_NAME
}

/** On Windows and macOS only what no file system there folds, reserves or rejects. */
function isPlainAnywhere(part: string): boolean {
  return /^(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[a-z0-9_@=+,;!()[\]. -]*[a-z0-9_@=+,;!()[\]-]$/.test(part) && isPlain(part)
}

/** Of the UTF-16 units: two keys that are no Unicode and differ, differ. */
function digest(text: string): string {
  return createHash('sha256').update(text, 'utf16le').digest('hex')
}
