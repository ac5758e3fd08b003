import { spawn } from 'node:child_process'
import { expect, test } from 'vitest'

const dist = (path: string) => new URL(`../../dist/${path}`, import.meta.url).href

/** Bytes that one call allocates, measured in a process of its own so that nothing else trains the compiler. */
async function bytesOf(hit: string): Promise<number> {
  const code = `
    import { BentoCache, bentostore } from '${dist('index.js')}'
    import { memoryDriver } from '${dist('drivers/memory/memory.js')}'
    const bento = new BentoCache({ ttl: '1h', default: 'm', stores: { m: bentostore().useL1Layer(memoryDriver({ serialize: false })) } })
    const value = { id: 1 }
    const factory = () => value
    const options = { ttl: '1h' }
    const object = { key: 'k', factory, ttl: '1h' }
    await bento.set('k', value)
    const hit = ${hit}
    async function bytes(n) {
      gc()
      const before = process.memoryUsage().heapUsed
      for (let i = 0; i < n; i++) await hit()
      return (process.memoryUsage().heapUsed - before) / n
    }
    for (let round = 0; round < 20; round++) await bytes(20_000)
    const rounds = []
    for (let round = 0; round < 7; round++) rounds.push(await bytes(20_000))
    console.log(rounds.sort((a, b) => a - b)[3])
  `
  const flags = ['--expose-gc', '--max-semi-space-size=128', '--min-semi-space-size=128', '--input-type=module', '--eval', code]
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.once('close', (exit) => (exit === 0 ? resolve(Number(output)) : reject(new Error(`ended with ${exit}`))))
  })
}

test('[52] [A8] an L1 hit by reference costs 64 bytes at most beyond the promise it returns, in both forms of the call', async () => {
  const control = await bytesOf('() => Promise.resolve(value)')
  expect(control).toBeGreaterThan(20) // it measures something
  expect((await bytesOf("() => bento.getOrSet('k', factory, options)")) - control).toBeLessThanOrEqual(64)
  expect((await bytesOf('() => bento.getOrSet(object)')) - control).toBeLessThanOrEqual(64)
})
