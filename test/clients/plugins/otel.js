// Traces a BentoCache with @bentocache/otel, and prints the spans.
import * as bentocache from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisDriver } from 'bentocache/drivers/redis'
import { BentoCacheInstrumentation } from '@bentocache/otel'
import { trace } from '@opentelemetry/api'
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { Redis } from 'ioredis'

const exporter = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
provider.register()

const instrumentation = new BentoCacheInstrumentation({ includeKeys: true, keySanitizer: (key) => key.replace('secret', '***') })
instrumentation.setTracerProvider(provider)
// A namespace of ESM cannot be patched in place: its manual says to register what will be used.
const patched = { ...bentocache }
instrumentation.manuallyRegister(patched)

const redis = new Redis(Number(process.env.REDIS_PORT), '127.0.0.1')
const bento = new patched.BentoCache({
  default: 'main',
  stores: { main: bentocache.bentostore().useL1Layer(memoryDriver()).useL2Layer(redisDriver({ connection: redis })) },
})
const isPatched = bento.constructor !== bentocache.BentoCache && bento instanceof bentocache.BentoCache

const tracer = trace.getTracer('test')
await tracer.startActiveSpan('request', async (request) => {
  const crowd = Array.from({ length: 5 }, () =>
    bento.getOrSet({ key: 'secret:1', factory: () => tracer.startActiveSpan('query', async (span) => (span.end(), 'value')) })
  )
  await Promise.all(crowd)
  await bento.get({ key: 'secret:1' })
  await bento.get({ key: 'missing' })
  await bento.set({ key: 'stale', value: 1, ttl: 1, grace: '1h' })
  await new Promise((resolve) => setTimeout(resolve, 10))
  await bento.get({ key: 'stale', grace: '1h' })
  await bento.deleteMany({ keys: ['a', 'b'] })
  await bento
    .getOrSet({
      key: 'failing',
      factory: () => {
        throw new Error('down')
      },
    })
    .catch(() => {})
  request.end()
})
await bento.delete({ key: 'outside any span' })
instrumentation.disable()
await bento.get({ key: 'secret:1' })
await bento.disconnectAll()
redis.disconnect()

const spans = exporter.getFinishedSpans().map(({ name, attributes, status, events, parentSpanContext }) => {
  const parent = exporter.getFinishedSpans().find((span) => span.spanContext().spanId === parentSpanContext?.spanId)
  return { name, attributes, isFailed: status.code === 2, events: events.map((event) => event.name), parent: parent?.name }
})
console.log(JSON.stringify({ isPatched, spans }))
