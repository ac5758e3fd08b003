import { defineConfig, drivers, store } from '@adonisjs/cache'

const memory = () => drivers.memory({ maxItems: 1000 })

export default defineConfig({
  default: 'memory',
  ttl: '1h',
  stores: {
    memory: store().useL1Layer(memory()),
    redis: store().useL1Layer(memory()).useL2Layer(drivers.redis({ connectionName: 'main' })).useBus(drivers.redisBus({ connectionName: 'main' })),
    database: store().useL1Layer(memory()).useL2Layer(drivers.database({ connectionName: 'main' })),
  },
})
