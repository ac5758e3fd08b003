import type { CacheSerializer } from './contract.js'

/** How an entry holds its value. */
const VALUE = 0 // handed out as it is: by reference, or a primitive
const TREE = 1 // plain JSON data, private to the entry: copied for each reader
const TEXT = 2 // the envelope's text: deserialized for each reader

const NO_TAGS: readonly string[] = []

/** Times are clamped to 13 digits; this one also means never. */
const NEVER = 9_999_999_999_999

/** When a tag was last invalidated, as far as this process knows. Shared by all entries of the tag. */
export interface TagMark {
  /** Epoch ms on the coordinator's clock; 0 = never. */
  time: number
  /** Local epoch ms until which `time` may be trusted. */
  knownUntil: number
  /** Position in this process's order of learning; calls compare it with their own start. */
  learnedAt: number
  /** The same for news that the tag was invalidated, as long as L2 has not been asked when. */
  heardAt: number | undefined
  /** `createdAt` of the youngest entry that this process made under the tag: maybe ahead of the clock. */
  youngest: number
}

/**
 * A cached value and what is known about it. `createdAt` and `freshUntil` are on the clock of
 * whoever coordinates (they are stored); `calmUntil` and `deadAt` are on this process's clock.
 */
export class Entry {
  /** Epoch ms at which its data was asked for; undefined in foreign envelopes: no tag can hit it. */
  createdAt: number | undefined
  /** Epoch ms; Infinity = never stale. */
  freshUntil: number
  /** Until then it is served without asking anybody: freshness, or a back-off. */
  calmUntil: number
  /** When the tier that keeps it drops it. */
  deadAt: number
  tags: readonly string[]
  /** false: the feed was interrupted since; L2 must be asked before it is served. */
  isConfirmed = true
  /** Kept by L1 alone, on purpose or because L2 failed. */
  isLocalOnly = false
  /** The marks of its tags, found once per reading view (`scope`). */
  marks: readonly TagMark[] | undefined = undefined
  scope = ''
  form: 0 | 1 | 2
  /** The value, tree or text, as `form` says. */
  body: unknown
  /** What reading its text has parsed already, for whoever opens it first. */
  unread: { value?: unknown } | undefined = undefined

  constructor(form: 0 | 1 | 2, body: unknown, createdAt: number | undefined, freshUntil: number, tags: readonly string[]) {
    this.form = form
    this.body = body
    this.createdAt = createdAt
    this.freshUntil = freshUntil
    this.calmUntil = freshUntil
    this.deadAt = Infinity
    this.tags = tags.length === 0 ? NO_TAGS : tags
  }
}

/** Between values, entries and the text that L2 stores. */
export class Codec {
  /** Values are kept in L1 and handed out by reference. */
  readonly byReference: boolean
  readonly #serializer: CacheSerializer | undefined
  /** Text must stay text because the engine weighs it. */
  readonly #keepsText: boolean

  /** Without a serializer: JSON. */
  constructor(o: { serializer?: CacheSerializer | undefined; byReference?: boolean; keepsText?: boolean } = {}) {
    this.#serializer = o.serializer
    this.byReference = o.byReference ?? false
    this.#keepsText = o.keepsText ?? false
  }

  /**
   * The envelope's text. Ours ends in a tail of exactly 60 bytes, times last, so that scripts
   * need not touch the body; any reader of 1.6.1's envelopes understands it.
   * @throws what the serializer throws (a BigInt, a cycle)
   */
  encode(value: unknown, createdAt: number, freshUntil: number, tags: readonly string[]): string {
    const logicalExpiration = clamp(freshUntil)
    if (this.#serializer !== undefined) {
      const envelope = tags.length > 0 ? { value, tags } : { value }
      return this.#serializer.serialize({ ...envelope, createdAt: clamp(createdAt), logicalExpiration })
    }
    const body = JSON.stringify(value) as string | undefined // a function: no text at all
    const head = body === undefined ? '' : `"value":${body},`
    const tagged = tags.length === 0 ? '' : `"tags":${JSON.stringify(tags)},`
    return `{${head}${tagged}"createdAt":${clamp(createdAt)},"logicalExpiration":${logicalExpiration}}`
  }

  /** An entry of a text; undefined when the text is no envelope (corrupt, or somebody else's). */
  decode(text: string): Entry | undefined {
    let envelope: Record<string, unknown>
    try {
      envelope = this.#serializer === undefined ? JSON.parse(text) : this.#serializer.deserialize(text)
    } catch {
      return undefined
    }
    if (typeof envelope !== 'object' || envelope === null) return undefined
    const { value, createdAt, logicalExpiration, tags } = envelope
    if (!('value' in envelope) && logicalExpiration === undefined) return undefined
    const freshUntil = logicalExpiration === undefined ? Infinity : time(logicalExpiration)
    const created = typeof createdAt === 'number' ? createdAt : undefined
    const known = Array.isArray(tags) ? tags : NO_TAGS
    if (this.byReference || isPrimitive(value)) return new Entry(VALUE, value, created, freshUntil, known)
    if (this.#serializer === undefined && !this.#keepsText) return new Entry(TREE, value, created, freshUntil, known)
    const entry = new Entry(TEXT, text, created, freshUntil, known)
    entry.unread = envelope
    return entry
  }

  /** An entry of a value that was just encoded; without `text` (unstorable) it is by reference. */
  entryOf(value: unknown, text: string | undefined, createdAt: number, freshUntil: number, tags: readonly string[]): Entry {
    if (text === undefined || this.byReference || isPlain(value)) {
      return new Entry(VALUE, value, createdAt, freshUntil, tags)
    }
    return new Entry(TEXT, text, createdAt, freshUntil, tags)
  }

  /**
   * The value, the reader's own copy unless the store hands out references.
   * @throws what the serializer throws
   */
  open(entry: Entry): unknown {
    if (entry.form === VALUE) return entry.body
    if (entry.form === TREE) return copy(entry.body)
    if (entry.unread !== undefined) {
      const { value } = entry.unread
      entry.unread = undefined
      return value
    }
    if (this.#serializer !== undefined) return this.#serializer.deserialize(entry.body as string).value
    const value = JSON.parse(entry.body as string).value
    if (this.#keepsText) return value
    // Whoever reads once will read again: copying a tree costs less than parsing its text.
    entry.form = isPrimitive(value) ? VALUE : TREE
    entry.body = value
    return copy(value)
  }
}

/** The text with its entry made stale at `staleAt`; undefined when it is no envelope. */
export function expireText(text: string, staleAt: number, serializer: CacheSerializer | undefined): string | undefined {
  try {
    const envelope = serializer === undefined ? JSON.parse(text) : serializer.deserialize(text)
    if (typeof envelope !== 'object' || envelope === null) return undefined
    envelope.createdAt = clamp(envelope.createdAt ?? 0)
    delete envelope.logicalExpiration // so that it comes last again
    envelope.logicalExpiration = clamp(staleAt)
    return serializer === undefined ? JSON.stringify(envelope) : serializer.serialize(envelope)
  } catch {
    return undefined
  }
}

/** 1.6.1's JSON envelope, or a foreign one like it, made stale; undefined: this text has its times elsewhere. */
export function staleEnvelope(text: string, staleAt: number): string | undefined {
  try {
    const envelope = JSON.parse(text)
    const isEnvelope = typeof envelope === 'object' && envelope !== null && ('value' in envelope || 'logicalExpiration' in envelope)
    return isEnvelope ? expireText(text, staleAt, undefined) : undefined
  } catch {
    return undefined
  }
}

function isPrimitive(value: unknown): boolean {
  return typeof value !== 'object' || value === null
}

/** A primitive that survives its own text: NaN becomes null, -0 becomes 0, a function vanishes. */
function isPlain(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0)
  return typeof value === 'string' || typeof value === 'boolean' || value === null
}

/** A deep copy of what `JSON.parse` can return. */
function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    const items = value.slice()
    for (let i = 0; i < items.length; i++) {
      if (typeof items[i] === 'object' && items[i] !== null) items[i] = copy(items[i])
    }
    return items
  }
  // Spreading keeps an own `__proto__` an own property, and its engine path is the fastest there is.
  const fields: Record<string, unknown> = { ...value }
  for (const name in fields) {
    const field = fields[name]
    if (typeof field === 'object' && field !== null) fields[name] = copy(field)
  }
  return fields
}

function clamp(ms: number): number {
  return ms >= NEVER ? NEVER : Math.ceil(ms)
}

function time(stored: unknown): number {
  if (typeof stored !== 'number') return 0 // 1.6.1 wrote null for Infinity, and reads it as stale
  return stored >= NEVER ? Infinity : stored
}
