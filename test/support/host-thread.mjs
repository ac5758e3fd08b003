// One participant of a herd, as a thread, a cluster worker, a forked or a started process.
import cluster from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { BentoCache, bentostore } from 'bentocache'
import { hostDriver } from 'bentocache/drivers/host'
import { memoryDriver } from 'bentocache/drivers/memory'

const { directory, at, callers } = workerData ?? JSON.parse(process.argv.at(-1))
const store = bentostore().useL1Layer(memoryDriver()).useL2Layer(hostDriver({ directory, maxSize: '16mb' }))
const cache = new BentoCache({ default: 'herd', stores: { herd: store } })
await cache.get('warm-up')

let runs = 0
await sleep(Math.max(0, at - Date.now()))
const values = await Promise.all(
  Array.from({ length: callers }, () => cache.getOrSet('key', async () => (runs++, await sleep(100), 'value'), { ttl: '1h' }))
)
await cache.disconnectAll()
const report = { runs, values: values.filter((value) => value === 'value').length }
if (parentPort) parentPort.postMessage(report)
else process.send(report, () => cluster.worker?.disconnect())
