import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Names, escapeGlob, hashedPart } from '../../../../src/drivers/redis/keys.js'

const names = (o: { root?: string; keyPrefix?: string; isCluster?: boolean } = {}) =>
  new Names({ root: 'p', keyPrefix: '', isCluster: false, ...o })

describe('a value’s companions', () => {
  test('lie inside the prefix, so that its users may touch them and a clear takes them', () => {
    expect(names().value('k')).toBe('p:k')
    expect(names().lease('k')).toBe('p:___bc:l:{p:k}')
    expect(names().staged('k', 'a:1')).toBe('p:___bc:s:a:1:{p:k}')
    expect(names({ root: '' }).lease('k')).toBe('___bc:l:{k}')
  })

  test('count what the client puts in front of keys', () => {
    expect(names({ keyPrefix: 'app:' }).lease('k')).toBe('p:___bc:l:{app:p:k}')
  })

  test('keep the hash tag that a key brings along', () => {
    expect(names().lease('{user}:1')).toBe('p:___bc:l:p:{user}:1')
    expect(names({ keyPrefix: '{app}:' }).lease('k')).toBe('p:___bc:l:p:k')
  })

  test('lie in the value’s slot of a Cluster, or are not taken', () => {
    const cluster = names({ isCluster: true })
    expect(cluster.lease('a{b')).toBeDefined()
    expect(cluster.lease('a}b')).toBeUndefined()
    expect(cluster.lease('{}x')).toBeUndefined()
    expect(names().lease('a}b')).toBe('p:___bc:l:{p:a}b}') // one server has one slot
    const braced = fc.string({ unit: fc.constantFrom('{', '}', 'a', ':', '|') })
    fc.assert(
      fc.property(braced, braced, braced, (keyPrefix, root, key) => {
        const some = names({ keyPrefix, root, isCluster: true })
        for (const companion of [some.lease(key), some.staged(key, 'a:1')]) {
          if (companion === undefined) continue
          expect(hashedPart(keyPrefix + companion)).toBe(hashedPart(keyPrefix + some.value(key)))
        }
      })
    )
  })
})

test('the hashed part is the first one in braces that is not empty, or all', () => {
  const parts = { 'a{b}c{d}': 'b', 'a{}b{c}': 'a{}b{c}', 'a{b': 'a{b', 'a}b{c}': 'c', ab: 'ab', '{{a}}': '{a' }
  for (const [name, part] of Object.entries(parts)) expect(hashedPart(name)).toBe(part)
})

describe('clearing', () => {
  test('looks for what is below the path and nothing else', () => {
    const { leases, values } = names({ keyPrefix: 'app:' }).patterns('users')
    expect(values).toBe('app:p:users:*')
    expect(leases).toBe('app:p:___bc:l:*')
    expect(names().patterns('').values).toBe('p:*')
    expect(names({ root: '' }).patterns('').values).toBe('*')
    expect(names({ root: '' }).patterns('users').values).toBe('users:*')
  })

  test('knows the leases of the path among all', () => {
    const some = names({ keyPrefix: 'app:' })
    const whole = (key: string) => `app:${some.lease(key)!}`
    expect(some.isLeaseBelow('users', whole('users:1'))).toBe(true)
    expect(some.isLeaseBelow('users', whole('users:{tag}:1'))).toBe(true)
    expect(some.isLeaseBelow('users', whole('usersX:1'))).toBe(false)
    expect(some.isLeaseBelow('users', whole('users'))).toBe(false)
    expect(some.isLeaseBelow('', whole('anything'))).toBe(true)
  })

  test('takes patterns literally', () => {
    expect(escapeGlob('a*b?[c]\\')).toBe('a\\*b\\?\\[c\\]\\\\')
  })
})
