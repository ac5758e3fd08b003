import { BentoCache, bentostore } from '../../dist/index.js'
import { hostDriver } from '../../dist/drivers/host/host.js'
import { memoryDriver } from '../../dist/drivers/memory/memory.js'

/** A process with a cache, as an application has it. */
const [directory, maxSize] = process.argv.slice(2)
const logged = []
const log = (level) => (_, message) => logged.push(`${level}: ${message}`)
const logger = { trace() {}, debug() {}, info: log('info'), warn: log('warn'), error: log('error'), fatal: log('fatal'), child: () => logger }
const store = bentostore().useL1Layer(memoryDriver()).useL2Layer(hostDriver({ directory, maxSize }))
const bento = new BentoCache({ default: 'host', logger, stores: { host: store } })

/** Some kB for each key, each answer compared with what it has to be; how many runs it took. */
export async function askFor(count, from = 0) {
  let runs = 0
  for (let i = from; i < from + count; i++) {
    const text = `${i} `.repeat(1_000)
    const value = await bento.getOrSet({ key: `key${i}`, ttl: '1h', factory: () => (runs++, text) })
    if (value !== text) throw new Error(`key${i} has ${String(value).slice(0, 20)}`)
  }
  return runs
}

export const logs = () => logged
