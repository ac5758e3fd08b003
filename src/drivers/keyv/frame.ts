/**
 * A text and its end in the form that Keyv gives to a value, put together by hand: the text is
 * neither escaped nor parsed on its way. Stores that know no ttl keep the end, and whoever looks at
 * our keys through Keyv itself sees the entry.
 */
export function frame(text: string, end: number | undefined): string {
  return end === undefined ? `{"value":${text}}` : `{"expires":${end},"value":${text}}`
}

/** `end`: epoch ms, Infinity = never. Undefined for what is none of ours. */
export function unframe(stored: unknown): { text: string; end: number } | undefined {
  if (typeof stored !== 'string' || !stored.endsWith('}')) return undefined
  const head = HEAD.exec(stored)
  if (head === null) return undefined
  return { text: stored.slice(head[0].length, -1), end: head[1] === undefined ? Infinity : Number(head[1]) }
}

const HEAD = /^\{(?:"expires":(\d+),)?"value":/
