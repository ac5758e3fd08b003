import { spawn } from 'node:child_process'
import { expect, test } from 'vitest'

const dist = (path: string) => new URL(`../../dist/${path}`, import.meta.url).href

const IMPORTS = `
import { BentoCache, bentostore } from '${dist('index.js')}'
import { memoryDriver } from '${dist('drivers/memory/memory.js')}'
import { BaseDriver } from '${dist('drivers/base-driver.js')}'
const refusing = () => Promise.reject(new Error('away'))
class Away extends BaseDriver {
  type = 'l2'
  namespace() { return this }
  get = refusing; set = refusing; pull = refusing; delete = refusing; deleteMany = refusing; clear = refusing
  disconnect = async () => {}
}
const awayL2 = { options: {}, factory: (config) => new Away(config) }
const awayBus = { options: {}, factory: () => ({
  setId() { return this }, onReconnect() {}, publish: refusing, subscribe: refusing, unsubscribe: refusing, disconnect: async () => {},
}) }
const never = () => new Promise(() => {})
`

/** Runs a script of its own process; killed, and so seen as 'SIGKILL', if it lives longer than 15 s. */
function run(code: string, ...flags: string[]): Promise<{ code: number | null; signal: string | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...flags, '--input-type=module', '--eval', IMPORTS + code], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    const force = setTimeout(() => child.kill('SIGKILL'), 15_000)
    child.once('close', (code, signal) => {
      clearTimeout(force)
      resolve({ code, signal, output })
    })
  })
}

const ended = { code: 0, signal: null, output: 'done\n' }

test.each([
  ['has values in memory for a year', `
    const bento = new BentoCache({ ttl: '1y', grace: '2y', default: 'm', stores: { m: bentostore().useL1Layer(memoryDriver()) } })
    await bento.set('k', 'v', { tags: ['t'] })
    await bento.namespace('n').getOrSet('k', () => 'v')
    await bento.deleteByTag(['t'])`],
  ['waits with timeouts that are an hour long', `
    const bento = new BentoCache({ hardTimeout: '1h', lockTimeout: '1h', default: 'm', stores: { m: bentostore().useL1Layer(memoryDriver()) } })
    await Promise.all([1, 2, 3].map(() => bento.getOrSet('k', async () => 'v')))`],
  ['left a factory behind that never ends, with callers and a refresh that wait for it', `
    const bento = new BentoCache({ ttl: 1, grace: '1h', hardTimeout: '1h', default: 'm', stores: { m: bentostore().useL1Layer(memoryDriver()) } })
    await bento.set('k', 'v')
    await new Promise((resolve) => setTimeout(resolve, 5))
    await bento.getOrSet('k', never)
    void bento.getOrSet('other', never)
    void bento.getOrSet('other', never)`],
  ['owes an absent L2 its deletes, and an absent bus its messages', `
    const bento = new BentoCache({ default: 'm', stores: { m: bentostore().useL1Layer(memoryDriver()).useL2Layer(awayL2).useBus(awayBus) } })
    await bento.set('k', 'v')
    await bento.delete('k')
    await bento.deleteByTag(['t'])
    await bento.clear()`],
  ['did all that, and said goodbye', `
    const bento = new BentoCache({ default: 'm', stores: { m: bentostore().useL1Layer(memoryDriver()).useL2Layer(awayL2).useBus(awayBus) } })
    void bento.getOrSet('k', never)
    await bento.delete('k')
    await bento.disconnectAll()`],
])('[40] [issue 3, row 11] a process ends by itself although it %s', async (_, code) => {
  expect(await run(`${code}\nconsole.log('done')`)).toEqual(ended)
})
