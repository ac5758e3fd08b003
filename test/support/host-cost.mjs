// What the host tier costs in one process; started anew for each question, so that nothing else is compiled for it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BentoCache, bentostore } from '../../dist/index.js'
import { HostDriver, hostDriver } from '../../dist/drivers/host/host.js'
import { memoryDriver } from '../../dist/drivers/memory/memory.js'

const directory = mkdtempSync(join(tmpdir(), 'bento-host-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))

const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)]

/** µs of a read of 1 kB from L2, without parsing: median of batches, so that what interrupts one does not count. */
export async function readMicros() {
  const driver = new HostDriver({ directory, maxSize: '16mb', prefix: 'p' })
  const keys = Array.from({ length: 100 }, (_, i) => `key${i}`)
  for (const key of keys) await driver.set(key, 'x'.repeat(1_024))
  const batches = []
  for (let i = 0; i < 1_000; i++) {
    const from = performance.now()
    for (const key of keys) if ((await driver.get(key)).length !== 1_024) throw new Error('not what was stored')
    batches.push(((performance.now() - from) * 1_000) / keys.length)
  }
  await driver.disconnect()
  return median(batches)
}

/** An L1 hit with the tier over one without: batches side by side, median of their ratios. */
export async function hitRatio() {
  const stores = {
    without: bentostore().useL1Layer(memoryDriver()),
    with: bentostore().useL1Layer(memoryDriver()).useL2Layer(hostDriver({ directory, maxSize: '16mb' })),
  }
  const bento = new BentoCache({ default: 'with', stores })
  const micros = async (cache) => {
    const from = performance.now()
    for (let i = 0; i < 5_000; i++) await cache.getOrSet({ key: 'key', ttl: '1h', factory: () => ({ answer: 42 }) })
    return (performance.now() - from) / 5
  }
  const [a, b] = [bento.use('with'), bento.use('without')]
  const ratios = []
  for (let i = 0; i < 60; i++) {
    const [one, other] = i % 2 === 0 ? [await micros(a), await micros(b)] : [await micros(b), await micros(a)].reverse()
    if (i >= 10) ratios.push(one / other)
  }
  await bento.disconnectAll()
  return median(ratios)
}
