import { describe, expect, test } from 'vitest'
import { parseBytes, utf8Length } from '../../../src/base/bytes.js'

describe('a size in bytes', () => {
  test.each([
    [1, 1],
    [1536.9, 1536],
    ['100', 100],
    ['1b', 1],
    ['1kb', 1024],
    ['1 KB', 1024],
    ['1.5mb', 1.5 * 2 ** 20],
    ['2GB', 2 * 2 ** 30],
    ['1tb', 2 ** 40],
    ['1Pb', 2 ** 50],
    ['.5kb', 512],
  ])('%j is %d', (size, bytes) => {
    expect(parseBytes(size, 'maxSize')).toBe(bytes)
  })

  test.each([0, -1, NaN, '', '-1kb', '2MiB', 'much', '1e3', null, {}])('%j is refused by name', (size) => {
    expect(() => parseBytes(size as never, 'maxEntrySize')).toThrow(
      expect.objectContaining({ code: 'E_INVALID_OPTION', option: 'maxEntrySize' })
    )
  })

  test.each(['', 'abc', 'é', 'ß€', '日本語', '🚀', 'a🚀é日', '\ud83d', '\ude80x', '\0'])('of the text %j is counted as UTF-8 has it', (text) => {
    expect(utf8Length(text)).toBe(Buffer.byteLength(text))
  })
})
