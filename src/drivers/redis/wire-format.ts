import { CacheBusMessageType } from '../../base/contract.js'
import type { CacheBusMessage } from '../../base/contract.js'

/** 1.6.1's bytes: sender (24) · type (1) · namespace · keys; texts are UTF-8 behind a u32 of their length. */
const ID_LENGTH = 24

const TYPES: readonly CacheBusMessageType[] = [
  CacheBusMessageType.Set,
  CacheBusMessageType.Clear,
  CacheBusMessageType.Delete,
  CacheBusMessageType.Expire,
]

/** @throws TypeError when it is no message of the bus: sending it again would not help */
export function encode(busId: string, message: Record<string, unknown>): Uint8Array {
  const { type, namespace, keys } = message
  const code = TYPES.indexOf(type as CacheBusMessageType) + 1
  if (code === 0) throw new TypeError(`A bus message cannot be of type ${String(type)}`)
  if (Buffer.byteLength(busId) !== ID_LENGTH) throw new TypeError(`A bus id has ${ID_LENGTH} bytes, not "${busId}"`)
  if (!Array.isArray(keys)) throw new TypeError('The keys of a bus message are an array')
  return Buffer.concat([Buffer.from(busId), Uint8Array.of(code), ...[namespace, ...keys].map(encodeText)])
}

/** Undefined when the bytes are no message; a type this version does not know is none. */
export function decode(bytes: Uint8Array): { busId: string; payload: CacheBusMessage } | undefined {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const type = TYPES[(data[ID_LENGTH] ?? 0) - 1]
  if (type === undefined) return undefined
  const texts: string[] = []
  for (let at = ID_LENGTH + 1; at < data.length; ) {
    if (at + 4 > data.length) return undefined
    const end = at + 4 + data.readUInt32BE(at)
    if (end > data.length) return undefined
    texts.push(data.toString('utf8', at + 4, end))
    at = end
  }
  const [namespace, ...keys] = texts
  if (namespace === undefined) return undefined
  return { busId: data.toString('latin1', 0, ID_LENGTH), payload: { type, keys, namespace } }
}

function encodeText(text: unknown): Uint8Array {
  if (typeof text !== 'string') throw new TypeError(`Keys and namespaces on the bus are strings, not ${typeof text}`)
  const bytes = Buffer.from(text)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
