import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const script = new URL('../../../scripts/floors.mjs', import.meta.url).href
const { findTrespasses } = (await import(script)) as { findTrespasses(root: string, publicFiles: string[]): string[] }

const directory = mkdtempSync(join(tmpdir(), 'bentocache-floors-'))
afterAll(() => rmSync(directory, { recursive: true }))

let trees = 0
/** What is said about a source tree of these files. */
function judge(files: Record<string, string>, publicFiles = ['index.ts']): string[] {
  const root = join(directory, `${++trees}`)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return findTrespasses(root, publicFiles)
}

test('imports that go down or stay in their folder are fine', () => {
  const files = {
    'flow/load.ts': `import { a } from '../tier/local.js'\nimport type { B } from './store.js'`,
    'flow/store.ts': `export type { B } from '../base/entry.js'`,
    'tier/local.ts': `import { after } from '../base/clock.js'`,
  }
  expect(judge(files)).toEqual([])
})

test.each([
  ['up', `import { set } from '../flow/write.js'`],
  ['up, by a type', `import type { Store } from '../flow/store.js'`],
  ['up, inside a type', `export type Store = import('../flow/store.js').Store`],
  ['up, later', `export const later = () => import('../flow/store.js')`],
  ['up, by a re-export', `export { set } from '../flow/write.js'`],
])('an import that goes %s is a trespass', (_, text) => {
  expect(judge({ 'tier/local.ts': text })).toEqual([expect.stringContaining('may not look up')])
})

test('an import that goes sideways is a trespass', () => {
  expect(judge({ 'tier/local.ts': `import type { Flights } from '../flight/flights.js'` })).toEqual([
    expect.stringMatching(/^tier\/local\.ts:1 .* on one floor/),
  ])
})

test('a driver may use what drivers share, and no other driver', () => {
  expect(judge({ 'drivers/redis/redis.ts': `import { BaseDriver } from '../base-driver.js'` })).toEqual([])
  expect(judge({ 'drivers/redis/redis.ts': `import { f } from '../memory/memory.js'` })).toEqual([
    expect.stringContaining('another driver'),
  ])
})

test('plugins and integrations come in by the public doors', () => {
  const text = (to: string) => ({ 'integrations/next/next.ts': `import type { A } from '${to}'` })
  expect(judge(text('../../index.js'))).toEqual([])
  expect(judge(text('./sub/more.js'))).toEqual([])
  expect(judge(text('../../cache/cache.js'))).toEqual([expect.stringContaining('public doors only')])
  expect(judge(text('../keyv/keyv.js'))).toEqual([expect.stringContaining('public doors only')])
})

test('conformance knows base alone, and nobody on a floor knows conformance', () => {
  expect(judge({ 'conformance/leases.ts': `import { a } from '../drivers/redis/redis.js'` })).toHaveLength(1)
  expect(judge({ 'drivers/redis/redis.ts': `import { a } from '../../conformance/leases.js'` })).toHaveLength(1)
})

test('a public door contains re-exports only', () => {
  expect(judge({ 'index.ts': `export { a } from './base/a.js'\nexport type { B } from './base/b.js'` })).toEqual([])
  expect(judge({ 'index.ts': `export const version = 1` })).toEqual([expect.stringContaining('more than re-exports')])
})

test('only cache/wire.ts makes mechanisms', () => {
  const text = `import { Local } from '../tier/local.js'\nexport const local = new Local()`
  expect(judge({ 'cache/wire.ts': text })).toEqual([])
  expect(judge({ 'cache/cache.ts': text })).toEqual([expect.stringContaining('says new Local')])
})

test('what the core reaches statically is free of Node', () => {
  const reaching = (how: string) => ({ 'index.ts': `export { a } from './base/a.js'`, 'base/a.ts': how })
  expect(judge(reaching(`import { hash } from 'node:crypto'`))).toEqual([expect.stringContaining('without Node')])
  expect(judge(reaching(`import { join } from 'path'`))).toEqual([expect.stringContaining('without Node')])
  expect(judge(reaching(`import type { Hash } from 'node:crypto'`))).toEqual([])
  expect(judge({ 'drivers/redis/redis.ts': `import { hash } from 'node:crypto'` })).toEqual([])
})

test('files that import each other in a circle are told, types included', () => {
  const files = { 'base/a.ts': `import type { B } from './b.js'`, 'base/b.ts': `import { a } from './a.js'` }
  expect(judge(files)).toEqual(['import cycle: base/a.ts → base/b.ts → base/a.ts'])
})
