import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { head, parseFrame } from '../../../../src/drivers/frames.js'

describe('a frame', () => {
  test('says what happened to a key, in which term, and whose it is', () => {
    const frame = `D${head('me', '', 'users:1')}`
    expect(frame).toBe('D|me||7|users:1|')
    expect(parseFrame(frame, 'me')).toEqual({ kind: 'deleted', key: 'users:1', term: '', own: true })
    expect(parseFrame(frame, 'you')?.own).toBe(false)
  })

  test('carries values, failures and times in its body', () => {
    const at = head('me', 'a:1@2', 'k')
    expect(parseFrame(`S${at}{"value":"|"}`, '')).toMatchObject({ kind: 'stored', term: 'a:1@2', text: '{"value":"|"}' })
    expect(parseFrame(`S${at}`, '')).not.toHaveProperty('text')
    expect(parseFrame(`V${at}x`, '')).toMatchObject({ kind: 'value', text: 'x' })
    expect(parseFrame(`T${at}17`, '')).toMatchObject({ kind: 'tagged', time: 17 })
    const error = { name: 'E', message: 'a|b', code: 'X' }
    expect(parseFrame(`F${at}${JSON.stringify(error)}`, '')).toMatchObject({ kind: 'failed', error })
    expect(parseFrame(`F${at}no json`, '')).toMatchObject({ error: { name: 'Error', message: 'no json' } })
  })

  test('returns any key as it was, bars and all', () => {
    const anything = fc.string({ unit: fc.oneof(fc.constantFrom('|', '0', '\n'), fc.string({ unit: 'grapheme', maxLength: 1 })) })
    fc.assert(
      fc.property(anything, anything, (key, body) => {
        const event = parseFrame(Buffer.from(`V${head('o', 't', key)}${body}`).toString(), 'o')
        expect(event).toMatchObject({ kind: 'value', key, term: 't', own: true })
        expect(event?.text ?? '').toBe(body)
      })
    )
  })

  test('of a kind that this version does not know is passed over, like noise', () => {
    for (const noise of [`H${head('o', '', '')}`, '', 'D', 'D|o||9|k|', 'D|o||x|k|', '{"value":1}', 'D|o||1|kx']) {
      expect(parseFrame(noise, 'o'), noise).toBeUndefined()
    }
  })
})
