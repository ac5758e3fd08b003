// Writes, reads and deletes in a host tier until it is killed. Imports as little as it can: thousands are started.
import { HostDriver } from '../../dist/drivers/host/host.js'
import { checkWhole, textOf } from './host-whole.mjs'

const [directory, maxSize, keys] = process.argv.slice(2)
const driver = new HostDriver({ directory, maxSize, prefix: 'p' })
process.on('message', () => {})

for (let n = 0; ; n++) {
  const key = `churn:${Math.floor(Math.random() * keys)}`
  await driver.set(key, textOf(key, n), 1_000 + Math.random() * 60_000)
  if (n === 0) process.send('writing')
  if (n % 5 === 0) await driver.delete(`churn:${Math.floor(Math.random() * keys)}`)
  await checkWhole(driver, keys, 5)
}
