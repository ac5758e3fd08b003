import { createServer, connect } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { askTogether, startProcess, startProcesses } from '../support/process.js'
import { startProxy } from '../support/proxy.js'

const SCRIPT = script(`
  export const add = (a, b) => a + b
  export const nothing = () => undefined
  export const fail = () => { throw Object.assign(new RangeError('no'), { code: 'E_NO', cause: new Error('why') }) }
  export const when = () => Date.now()
  export const args = () => process.argv.slice(2).concat(process.env.GREETING)
  export const die = () => process.exit(3)
  console.log('hello')
`)

test('what a script exports can be asked for, and what it throws arrives', async () => {
  const one = await startProcess(SCRIPT, { args: ['a', '--b'], env: { GREETING: 'hi' } })
  expect(await one.ask('add', 1, 2)).toBe(3)
  expect(await one.ask('nothing')).toBeUndefined()
  expect(await one.ask('args')).toEqual(['a', '--b', 'hi'])
  await expect(one.ask('fail')).rejects.toMatchObject({ name: 'RangeError', code: 'E_NO', cause: { message: 'why' } })
  await expect(one.ask('dance')).rejects.toThrow('exports no dance')
  expect(one.output).toBe('hello\n')
  expect(await one.end()).toEqual({ code: 0, signal: null })
})

test('all begin together', async () => {
  const three = await startProcesses(3, SCRIPT)
  const times = await askTogether<number>(three, 'when')
  expect(Math.max(...times) - Math.min(...times)).toBeLessThan(20)
})

test('a process that dies rejects what it was asked, and a killed one says so', async () => {
  const [first, second] = await startProcesses(2, SCRIPT)
  await expect(first!.ask('die')).rejects.toThrow('ended (3): hello')
  expect(await second!.kill()).toEqual({ code: null, signal: 'SIGKILL' })
  await expect(second!.ask('add')).rejects.toThrow('cannot be asked')
})

test('a stopped process answers once it goes on', async () => {
  const one = await startProcess(SCRIPT)
  one.stop()
  const answer = one.ask('add', 1, 1)
  const early = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 100, 'nothing yet'))])
  expect(early).toBe('nothing yet')
  one.cont()
  expect(await answer).toBe(2)
})

test('a script that cannot be loaded is told at once', async () => {
  await expect(startProcess(script('throw new Error("broken script")'))).rejects.toThrow('broken script')
})

let echo: Server
beforeAll(async () => {
  echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
  await once(echo, 'listening')
})
afterAll(() => void echo.close())

const proxyOfEcho = () => startProxy({ port: (echo.address() as AddressInfo).port })

async function say(socket: Socket, text: string): Promise<string> {
  socket.write(text)
  const [chunk] = await once(socket, 'data')
  return String(chunk)
}

test('the proxy passes bytes both ways, as late as it is told', async () => {
  const proxy = await proxyOfEcho()
  const socket = connect(proxy.port, proxy.host)
  expect(await say(socket, 'one')).toBe('one')
  expect(proxy.connections).toBe(1)
  proxy.latency(50)
  const start = performance.now()
  expect(await say(socket, 'two')).toBe('two')
  expect(performance.now() - start).toBeGreaterThanOrEqual(98)
  socket.destroy()
})

test('a cut breaks what stands and welcomes what comes', async () => {
  const proxy = await proxyOfEcho()
  const socket = connect(proxy.port, proxy.host).on('error', () => {})
  await say(socket, 'one')
  proxy.cut()
  await once(socket, 'close')
  const again = connect(proxy.port, proxy.host)
  expect(await say(again, 'two')).toBe('two')
  again.destroy()
})

test('a lost reply breaks the connection after the request got through', async () => {
  const heard: string[] = []
  const server = createServer((socket) => socket.on('data', (chunk) => {
    heard.push(String(chunk))
    socket.write('done')
  }).on('error', () => {})).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await startProxy({ port: (server.address() as AddressInfo).port })
  const socket = connect(proxy.port, proxy.host).on('error', () => {})
  const received: string[] = []
  socket.on('data', (chunk) => received.push(String(chunk)))
  proxy.loseReplies()
  socket.write('work')
  await once(socket, 'close')
  expect([heard, received]).toEqual([['work'], []])
  server.close()
})

test('a black hole accepts and swallows, and gives back what it held', async () => {
  const proxy = await proxyOfEcho()
  proxy.blackHole(true)
  const socket = connect(proxy.port, proxy.host)
  await once(socket, 'connect')
  const reply = say(socket, 'anybody?')
  const early = await Promise.race([reply, new Promise((resolve) => setTimeout(resolve, 100, 'silence'))])
  expect(early).toBe('silence')
  proxy.blackHole(false)
  expect(await reply).toBe('anybody?')
  socket.destroy()
})

test('refusing closes the door until it is opened again on the same port', async () => {
  const proxy = await proxyOfEcho()
  await proxy.refuse(true)
  const refused = connect(proxy.port, proxy.host)
  const [error] = await once(refused, 'error')
  expect(error.code).toBe('ECONNREFUSED')
  await proxy.refuse(false)
  const socket = connect(proxy.port, proxy.host)
  expect(await say(socket, 'back')).toBe('back')
  socket.destroy()
})

function script(code: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`)
}
