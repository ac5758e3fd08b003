import type { CacheBusMessage, Transport } from '../base/contract.js'
import { wait } from './wait.js'

/** The few assertions used; `node:assert/strict` and chai's `assert` have them. */
export interface TransportAssert {
  equal(actual: unknown, expected: unknown, message?: string): void
  deepEqual(actual: unknown, expected: unknown, message?: string): void
  ok(value: unknown, message?: string): void
}

export interface TransportSuiteOptions {
  /** A transport of its own: another process. Disconnected by the case. */
  createTransport(): Transport | Promise<Transport>
  assert: TransportAssert
  /** How long a message may be on its way, in ms. Default 5000. */
  patience?: number
}

export interface TransportCase {
  name: string
  run(o: TransportSuiteOptions): Promise<void>
}

/** One process in a case. */
interface Process {
  id: string
  transport: Transport
  /** What its handler was called with, in order. */
  heard: { message: CacheBusMessage; from: string | undefined }[]
}

interface Given {
  /** A process that listens to the channel; resolves when it is subscribed. */
  listener(channel?: string): Promise<Process>
  channel: string
  assert: TransportAssert
  until(holds: () => boolean): Promise<void>
}

/**
 * What every bus transport must do. Knows no test runner: `for (const { name, run } of
 * transportCases) test(name, () => run(options))`.
 */
export const transportCases: TransportCase[] = []

const deleted = (...keys: string[]): CacheBusMessage => ({ type: 'delete', keys, namespace: 'app' })

given('a message reaches every other process, once, and not its sender', async ({ listener, channel, assert, until }) => {
  const [a, b, c] = [await listener(), await listener(), await listener()]
  await a.transport.publish(channel, { ...deleted('key') })
  await until(() => b.heard.length > 0 && c.heard.length > 0)
  await b.transport.publish(channel, { ...deleted('end') })
  await until(() => last(a) === 'end' && last(c) === 'end')
  assert.deepEqual([a, b, c].map(keysHeardBy), [['end'], ['key'], ['key', 'end']])
})

given('a message comes as it was sent', async ({ listener, channel, assert, until }) => {
  const [a, b] = [await listener(), await listener()]
  const messages: CacheBusMessage[] = [
    { type: 'set', keys: ['foo'], namespace: 'bentocache' },
    { type: 'delete', keys: ['a', 'bb', 'users:1'], namespace: 'bentocache:users' },
    { type: 'expire', keys: ['é 漢 🚀', '', ' ', '"\\\n'], namespace: 'é:🚀' },
    { type: 'clear', keys: [], namespace: '' },
    { type: 'set', keys: Array.from({ length: 2_000 }, (_, i) => `key:${i}`), namespace: 'many' },
    { type: 'delete', keys: ['long'.repeat(5_000)], namespace: 'n'.repeat(500) },
  ]
  for (const message of messages) await a.transport.publish(channel, { ...message })
  await until(() => b.heard.length >= messages.length)
  assert.deepEqual(b.heard.map(({ message: { type, keys, namespace } }) => ({ type, keys, namespace })), messages)
})

given('the sender is named, or not at all', async ({ listener, channel, assert, until }) => {
  const [a, b] = [await listener(), await listener()]
  await a.transport.publish(channel, { ...deleted('key') })
  await until(() => b.heard.length > 0)
  assert.ok([a.id, undefined].includes(b.heard[0]!.from), b.heard[0]!.from)
})

given('messages of one process come in the order they were sent', async ({ listener, channel, assert, until }) => {
  const [a, b] = [await listener(), await listener()]
  const keys = Array.from({ length: 300 }, (_, i) => `${i}`)
  await Promise.all(keys.map((key) => a.transport.publish(channel, { ...deleted(key) })))
  await until(() => b.heard.length >= keys.length)
  assert.deepEqual(keysHeardBy(b), keys)
})

given('channels do not mix', async ({ listener, channel, assert, until }) => {
  const [a, b] = [await listener(), await listener(`${channel}:other`)]
  const c = await listener()
  await a.transport.publish(channel, { ...deleted('one') })
  await a.transport.publish(`${channel}:other`, { ...deleted('two') })
  await until(() => b.heard.length > 0 && c.heard.length > 0)
  assert.deepEqual([keysHeardBy(b), keysHeardBy(c)], [['two'], ['one']])
})

given('a process listens to several channels', async ({ listener, channel, assert, until }) => {
  const [a, b] = [await listener(), await listener()]
  const heard: string[] = []
  await b.transport.subscribe(`${channel}:more`, (message) => heard.push((message as any).keys[0]))
  await a.transport.publish(`${channel}:more`, { ...deleted('more') })
  await a.transport.publish(channel, { ...deleted('key') })
  await until(() => b.heard.length > 0 && heard.length > 0)
  assert.deepEqual([keysHeardBy(b), heard], [['key'], ['more']])
})

given('who has unsubscribed hears no more', async ({ listener, channel, assert, until }) => {
  const [a, b, c] = [await listener(), await listener(), await listener()]
  await b.transport.unsubscribe(channel)
  await a.transport.publish(channel, { ...deleted('key') })
  await until(() => c.heard.length > 0)
  await wait(20)
  assert.deepEqual(keysHeardBy(b), [])
})

given('what is published is left as it was', async ({ listener, channel, assert, until }) => {
  const [a, b] = [await listener(), await listener()]
  const message = Object.freeze({ ...deleted('key'), keys: Object.freeze(['key']) })
  await a.transport.publish(channel, message as unknown as Record<string, unknown>)
  await until(() => b.heard.length > 0)
  assert.deepEqual(message, deleted('key'))
})

given('disconnecting twice is disconnecting once, and then nothing is sent silently', async ({ listener, channel, assert }) => {
  const [a, b] = [await listener(), await listener()]
  const startedAt = Date.now()
  await a.transport.disconnect()
  await a.transport.disconnect()
  assert.ok(Date.now() - startedAt < 2_000)
  const sent = await a.transport.publish(channel, { ...deleted('key') }).then(() => true, () => false)
  await wait(20)
  assert.equal(sent, b.heard.length > 0)
})

given('setId answers the transport', async ({ listener, assert }) => {
  const { transport } = await listener()
  assert.ok(transport.setId(idOf(0)) === transport)
})

let count = 0

function given(name: string, body: (o: Given) => Promise<void>): void {
  const run = async (o: TransportSuiteOptions) => {
    const processes: Process[] = []
    const channel = `bentocache.conformance:${Date.now().toString(36)}${++count}`
    const listener = async (of = channel) => {
      const process: Process = { id: idOf(++count), transport: await o.createTransport(), heard: [] }
      processes.push(process)
      process.transport.setId(process.id)
      process.transport.onReconnect(() => {})
      await process.transport.subscribe(of, (message, from) => {
        process.heard.push({ message: message as unknown as CacheBusMessage, from })
      })
      return process
    }
    const until = async (holds: () => boolean) => {
      const deadline = Date.now() + (o.patience ?? 5_000)
      while (!holds() && Date.now() < deadline) await wait(5)
      o.assert.ok(holds(), `in ${o.patience ?? 5_000} ms: ${holds}`)
    }
    try {
      await body({ listener, channel, assert: o.assert, until })
    } finally {
      for (const { transport } of processes) await transport.disconnect()
    }
  }
  transportCases.push({ name, run })
}

/** 24 single-byte characters. */
function idOf(number: number): string {
  return 'process' + String(number).padStart(17, '0')
}

function keysHeardBy(process: Process): string[] {
  return process.heard.flatMap(({ message }) => message.keys)
}

function last(process: Process): string | undefined {
  return keysHeardBy(process).at(-1)
}
