import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decode, encode } from '../../../../src/drivers/redis/wire-format.js'

const ID = 'evj8uspi7d3mcc2ae6te8kue'
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const message = (type: string, keys: unknown, namespace: unknown = 'bentocache') => ({ type, keys, namespace })

describe('the bytes of the bus', () => {
  test('are those of 1.6.1', () => {
    const head = '65766a38757370693764336d6363326165367465386b7565'
    const bentocache = '0000000a62656e746f6361636865'
    const captured: [Record<string, unknown>, string][] = [
      [message('set', ['foo']), `01${bentocache}00000003666f6f`],
      [message('clear', []), `02${bentocache}`],
      [message('delete', ['é🚀']), `03${bentocache}00000006c3a9f09f9a80`],
      [message('delete', ['a', 'bb']), `03${bentocache}0000000161000000026262`],
      [message('expire', ['foo']), `04${bentocache}00000003666f6f`],
      [message('set', ['1'], 'bentocache:users'), '010000001062656e746f63616368653a75736572730000000131'],
      [message('set', ['___bc:t:t']), `01${bentocache}000000095f5f5f62633a743a74`],
      [message('set', ['foo'], ''), '010000000000000003666f6f'],
    ]
    for (const [sent, bytes] of captured) {
      expect(hex(encode(ID, sent))).toBe(head + bytes)
      expect(decode(Buffer.from(head + bytes, 'hex'))).toEqual({ busId: ID, payload: sent })
    }
  })

  test('bring any key and namespace across', () => {
    const text = fc.string({ unit: 'grapheme' })
    fc.assert(
      fc.property(fc.constantFrom('set', 'clear', 'delete', 'expire'), fc.array(text), text, (type, keys, namespace) => {
        const sent = message(type, keys, namespace)
        expect(decode(encode(ID, sent))).toEqual({ busId: ID, payload: sent })
      })
    )
  })

  test('that are cut short, too long or of an unknown type are no message', () => {
    const whole = encode(ID, message('delete', ['key']))
    const empty = ID.length + 5 + 'bentocache'.length
    for (let length = 0; length < whole.length; length++) {
      if (length !== empty) expect(decode(whole.subarray(0, length)), `${length} bytes`).toBeUndefined()
    }
    expect(decode(Buffer.concat([whole, Buffer.from([0])]))).toBeUndefined()
    const unknown = Buffer.from(whole)
    for (const type of [0, 5, 255]) {
      unknown[ID.length] = type
      expect(decode(unknown)).toBeUndefined()
    }
  })

  test('cannot be made of what is no message: a TypeError, which no retry will mend', () => {
    for (const sent of [message('set', [42]), message('set', [undefined]), message('set', 'k'), message('nonsense', []), message('set', [], 1)]) {
      expect(() => encode(ID, sent)).toThrow(TypeError)
    }
    expect(() => encode('short', message('set', []))).toThrow(TypeError)
  })
})
