import { BentoCache, bentostore, errors, tracingChannels } from '../../src/index.js'
import { BaseDriver } from '../../src/drivers/base-driver.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import type { BentoCachePlugin, CacheEvents, CacheSerializer, L2CacheDriver, Logger } from '../../src/types.js'
import { same } from './same.js'

declare const logger: Logger
declare const serializer: CacheSerializer
declare const plugin: BentoCachePlugin

class SomebodysDriver extends BaseDriver implements L2CacheDriver {
  type = 'l2' as const
  namespace = (namespace: string): L2CacheDriver => new SomebodysDriver({ prefix: this.createNamespacePrefix(namespace) })
  get = async (key: string): Promise<string | undefined> => this.getItemKey(key)
  pull = this.get
  set = async (): Promise<boolean> => true
  clear = async (): Promise<void> => {}
  delete = async (): Promise<boolean> => true
  deleteMany = async (): Promise<boolean> => true
  disconnect = async (): Promise<void> => {}
}

const memory = memoryDriver({ maxItems: 10, maxSize: '10mb', maxEntrySize: 1000, serialize: false, maxTtl: '1h' })
const remote = { options: {}, factory: (config: { prefix?: string }) => new SomebodysDriver(config) }

const bento = new BentoCache({
  default: 'both',
  stores: {
    memory: bentostore({ ttl: '1h', grace: '6h', prefix: 'app' }).useL1Layer(memory),
    both: bentostore({ leases: { ttl: '5s' }, maxL1Staleness: 500 }).useL1Layer(memory).useL2Layer(remote),
  },
  logger,
  serializer,
  plugins: [plugin],
  ttl: 1000,
  timeout: null,
  waitUntil: (work) => void work,
  onFactoryError: (error) => same<typeof error, InstanceType<typeof errors.E_FACTORY_ERROR>>(),
})

bento.on('cache:hit', (event) => {
  same<typeof event, CacheEvents['cache:hit']>()
  same<typeof event.key, string>()
})
tracingChannels.cacheOperation.start.subscribe((message) => same<typeof message, unknown>())
tracingChannels.cacheOperation.traceSync(() => 1, { operation: 'get', store: 'both' })
const error: Error = new errors.E_FACTORY_ERROR('a', new Error('why'), false)
void error

// @ts-expect-error the default must be one of the stores
void new BentoCache({ default: 'none', stores: { memory: bentostore() } })
// @ts-expect-error a store needs a description
void new BentoCache({ default: 'memory', stores: { memory: memory } })
// @ts-expect-error an L2 is no L1
bentostore().useL1Layer(remote)
// @ts-expect-error an L1 is no L2
bentostore().useL2Layer(memory)
// @ts-expect-error there is no such event
bento.on('cache:eaten', () => {})
// @ts-expect-error sizes are text or bytes
memoryDriver({ maxSize: true })
