import { expect, test } from 'vitest'
import { ROOT, runNode } from '../package/packed.js'

const dist = (path: string) => new URL(`../../dist/${path}`, import.meta.url).href

/**
 * A stampede of 1,000, a full collection, and so on; told by V8: what it discards because "weak
 * objects", the last of a shape, have died. The first rounds are V8 learning.
 */
const script = (before: string) => `
import { BentoCache, bentostore } from '${dist('index.js')}'
import { memoryDriver } from '${dist('drivers/memory/memory.js')}'
import { Line } from '${dist('flow/get-or-set.js')}'
${before}
const bento = new BentoCache({ default: 'm', stores: { m: bentostore().useL1Layer(memoryDriver()) } })
const factory = () => new Promise((resolve) => setTimeout(() => resolve({ id: 1, body: 'text' }), 5))
for (let round = 0; round < 24; round++) {
  if (round === 8) console.log('learnt')
  const calls = []
  for (let i = 0; i < 1_000; i++) calls.push(bento.getOrSet('key' + round, factory))
  await Promise.all(calls)
  await new Promise((resolve) => setTimeout(resolve, 20)) // what is compiled beside is ready by then
  await bento.clear()
  calls.length = 0
  globalThis.gc()
}
`

/** How often code of a follower's way was discarded once V8 had learnt it. */
async function discarded(before = ''): Promise<number> {
  const flags = ['--expose-gc', '--trace-deopt', '--input-type=module', '--eval', script(before)]
  const { code, stdout, stderr } = await runNode(ROOT, flags)
  expect(code, stderr).toBe(0)
  const lines = stdout.slice(stdout.indexOf('learnt')).split('\n')
  return lines.filter((line) => /(takes|join|#serveOne|#serve)>.*weak objects/.test(line)).length
}

test('what V8 has compiled for a stampede outlives a full collection', async () => {
  expect(await discarded()).toBeLessThanOrEqual(1)
})

test('without one object of each shape that stays it does not', async () => {
  expect(await discarded('Line.shapes = undefined')).toBeGreaterThanOrEqual(5)
})
