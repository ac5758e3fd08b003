import { expect, test } from 'vitest'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { BentoCache, bentostore } from '../../src/index.js'
import { VirtualClock } from '../support/clock.js'
import { Coordinator } from '../support/coordinator.js'

/** `slow`: how long a write of this process is under way, ms; reads overtake it. */
function fleetOfTwo(slow: number) {
  const clock = new VirtualClock()
  const coordinator = new Coordinator(clock)
  const process = (writes: number) => {
    const delay = (what: string) => (what.startsWith('request P ') ? writes : 1)
    const connection = coordinator.connect({ delay, readsOvertake: true })
    const main = bentostore().useL1Layer(memoryDriver()).useL2Layer({ options: {}, factory: () => connection })
    const bento = new BentoCache({ clock, ttl: '1h', default: 'main', stores: { main } })
    bento.use()
    return bento
  }
  return { clock, one: process(slow), other: process(1) }
}

test('a read beside an own set keeps nothing that the set is about to replace', async () => {
  const { clock, one, other } = fleetOfTwo(100)
  await clock.advance(50)
  const setting = one.set('k', 'mine')
  await clock.run(other.set('k', 'theirs')) // its news makes stale what L1 of the first has since the call
  await clock.advance(5)
  expect(await clock.run(one.get('k'))).toBe('theirs')
  await clock.run(setting)
  expect(await clock.run(one.get('k'))).toBe('mine')
  expect(await clock.run(one.getOrSet('k', () => 'computed'))).toBe('mine')
  await clock.run(Promise.all([one.disconnectAll(), other.disconnectAll()]))
})
