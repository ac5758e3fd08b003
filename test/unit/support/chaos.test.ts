import { expect, test } from 'vitest'
import { ChaosL2, hanging, losingReply, onCall, slow, throwing } from '../../support/chaos.js'
import { VirtualClock, settle } from '../../support/clock.js'

function connect(l2: ChaosL2, prefix = 'app') {
  return l2.driver().factory({ prefix })
}

test('two drivers are two connections to one storage', async () => {
  const l2 = new ChaosL2()
  await connect(l2).namespace('users').set('1', 'Ada')
  expect(await connect(l2).get('users:1')).toBe('Ada')
  expect(await connect(l2, 'other').get('users:1')).toBeUndefined()
})

test('ttls end with the virtual clock, and clear keeps to its prefix', async () => {
  const clock = new VirtualClock()
  const l2 = new ChaosL2({ clock })
  const driver = connect(l2)
  await driver.set('brief', 'x', 10)
  await driver.set('lasting', 'x')
  await connect(l2, 'apple').set('beside', 'x')
  await clock.advance(10)
  expect([await driver.get('brief'), await driver.get('lasting')]).toEqual([undefined, 'x'])
  await driver.clear()
  expect([...l2.kept.keys()]).toEqual(['apple:beside'])
})

test('calls are counted per method, failed ones included', async () => {
  const l2 = new ChaosL2({ hasGetMany: true })
  const driver = connect(l2)
  l2.ail(throwing(), 'set')
  await expect(driver.set('a', '1')).rejects.toThrow('chaos')
  await driver.get('a')
  expect(await driver.getMany!(['a', 'b'])).toEqual([undefined, undefined])
  expect(l2.calls).toMatchObject({ set: 1, get: 1, getMany: 1, delete: 0 })
  l2.resetCalls()
  expect(l2.calls.set).toBe(0)
})

test('getMany is there only when asked for', () => {
  expect(connect(new ChaosL2()).getMany).toBeUndefined()
})

test('throwing does nothing, losingReply does the work, and healing ends both', async () => {
  const l2 = new ChaosL2()
  const driver = connect(l2)
  l2.ail(throwing())
  await expect(driver.set('a', '1')).rejects.toThrow('refused')
  expect(l2.kept.size).toBe(0)
  l2.ail(losingReply(), 'set')
  await expect(driver.set('a', '1')).rejects.toThrow('connection lost')
  expect(l2.kept.size).toBe(1)
  l2.heal()
  expect(await driver.get('a')).toBe('1')
})

test('slow takes its time, hanging takes for ever or until released', async () => {
  const clock = new VirtualClock()
  const l2 = new ChaosL2({ clock })
  const driver = connect(l2)
  const answered: string[] = []

  l2.ail(slow(clock, 100))
  void driver.set('a', '1').then(() => answered.push('slow'))
  await clock.advance(99)
  expect(answered).toEqual([])
  await clock.advance(1)
  expect(answered).toEqual(['slow'])

  const stuck = hanging()
  l2.ail(stuck)
  void driver.get('a').then(() => answered.push('hanging'))
  await clock.advance(3_600_000)
  expect(answered).toEqual(['slow'])
  stuck.release()
  await settle()
  expect(answered).toEqual(['slow', 'hanging'])
})

test('onCall troubles one call and no other', async () => {
  const l2 = new ChaosL2()
  const driver = connect(l2)
  l2.ail(onCall(2, throwing()), 'get')
  await driver.get('a')
  await expect(driver.get('a')).rejects.toThrow('chaos')
  await expect(driver.get('a')).resolves.toBeUndefined()
})
