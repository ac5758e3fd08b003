import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { afterAll } from 'vitest'

const HOST = '127.0.0.1'

export interface Proxy {
  readonly host: string
  readonly port: number
  /** Connections that stand. */
  readonly connections: number
  /** Delays what passes from now on, each way, by `ms`. */
  latency(ms: number): void
  /** Breaks the connections that stand; new ones are welcome. */
  cut(): void
  /** Lets requests through and breaks the connection before `count` replies get back. */
  loseReplies(count?: number): void
  /** `true`: connections are accepted and stand, and nothing passes. `false`: what was held back passes. */
  blackHole(isOn: boolean): void
  /** `true`: breaks what stands and refuses what comes. */
  refuse(isOn: boolean): Promise<void>
  stop(): Promise<void>
}

/** A TCP proxy on the loopback, in front of a real server; stopped when the test file ends. */
export async function startProxy(target: { host?: string; port: number }): Promise<Proxy> {
  const sockets = new Set<Socket>()
  const held: (() => void)[] = []
  let delay = 0
  let isSwallowing = false
  let repliesToLose = 0

  const pass = (from: Socket, to: Socket, isReply: boolean) => {
    // One queue per direction: bytes that were delayed must not be overtaken by later ones.
    let order = Promise.resolve()
    from.on('data', (chunk) => {
      if (isReply && repliesToLose > 0) {
        repliesToLose--
        from.destroy()
        to.destroy()
        return
      }
      const due = Date.now() + delay
      order = order
        .then(() => (isSwallowing ? new Promise<void>((resolve) => held.push(resolve)) : undefined))
        .then(() => sleep(due - Date.now()))
        .then(() => void (to.destroyed || to.write(chunk)))
    })
    from.on('close', () => {
      sockets.delete(from)
      void order.then(() => to.end()) // what was sent before the end still arrives
      if (from.errored) to.destroy()
    })
    from.on('error', () => {})
    sockets.add(from)
  }

  const server = createServer((client) => {
    const upstream = connect(target.port, target.host ?? HOST)
    client.setNoDelay(true)
    upstream.setNoDelay(true)
    pass(client, upstream, false)
    pass(upstream, client, true)
  })
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, HOST, resolve))
  const cut = () => sockets.forEach((socket) => socket.destroy())
  const release = () => held.splice(0).forEach((go) => go())
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    cut()
    release()
    await closed
  }
  await listen(0)
  const { port } = server.address() as AddressInfo

  const proxy: Proxy = {
    host: HOST,
    port,
    get connections() {
      return sockets.size / 2
    },
    latency: (ms) => void (delay = ms),
    cut,
    loseReplies: (count = 1) => void (repliesToLose = count),
    blackHole(isOn) {
      isSwallowing = isOn
      if (!isOn) release()
    },
    async refuse(isOn) {
      if (isOn === server.listening) await (isOn ? close() : listen(port))
    },
    stop: async () => void (server.listening && (await close())),
  }
  running.add(proxy)
  return proxy
}

const running = new Set<Proxy>()

afterAll(async () => {
  await Promise.all([...running].map((proxy) => proxy.stop()))
  running.clear()
})

function sleep(ms: number): Promise<void> | undefined {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : undefined
}
