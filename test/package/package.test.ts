import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { beforeAll, describe, expect, test } from 'vitest'
import { ROOT, installed, link, pack, runNode, temporary, unpacked } from './packed.js'

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: Record<string, string> }
const subpaths = Object.keys(manifest.exports).filter((subpath) => !subpath.endsWith('.json'))
const specifiers = subpaths.map((subpath) => `bentocache${subpath.slice(1)}`)

let tarball: string
/** Has nothing but what `npm i bentocache` brings. */
let project: string
let added: number

beforeAll(async () => {
  tarball = await pack()
  ;({ project, added } = await installed(tarball))
})

test('installing it adds two packages at most', () => {
  expect(added).toBeLessThanOrEqual(2)
})

test('publint finds nothing', async () => {
  const { messages, pkg } = await publint({ pkgDir: join(project, 'node_modules/bentocache'), pack: false, strict: true })
  expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
})

test('every subpath has its types, for the old resolution of Node 10 too', async () => {
  const cli = join(ROOT, 'node_modules/@arethetypeswrong/cli/dist/index.js')
  // ESM only, so `require` gets no CommonJS; that is the one rule that is not ours.
  const { code, stdout } = await runNode(ROOT, [cli, tarball, '--ignore-rules', 'cjs-resolves-to-esm', '--format', 'ascii', '--no-emoji'])
  expect(code, stdout).toBe(0)
  for (const specifier of specifiers) expect(stdout).toContain(`"${specifier}"`)
})

describe('a TypeScript project without any peer, checking libraries too,', () => {
  beforeAll(() => {
    link(project, ['@types/node'])
    const types = specifiers.map((specifier, i) => `import type * as door${i} from '${specifier}'`)
    const uses = specifiers.map((_, i) => `export type Door${i} = typeof door${i}`)
    writeFileSync(join(project, 'doors.ts'), [...types, ...uses, ''].join('\n'))
    writeFileSync(join(project, 'founding.ts'), FOUNDING)
  })

  test.each(['nodenext', 'bundler'])('compiles with moduleResolution %s', async (moduleResolution) => {
    const compilerOptions = {
      target: 'es2022',
      module: moduleResolution === 'bundler' ? 'esnext' : 'nodenext',
      moduleResolution,
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
    }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['doors.ts', 'founding.ts'] }))
    const { code, stdout } = await runNode(project, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.'])
    expect(code, stdout).toBe(0)
  })
})

test('every subpath can be imported without any peer', async () => {
  const { code, stderr } = await runNode(project, ['--input-type=module', '--eval', specifiers.map((specifier) => `await import('${specifier}')`).join('\n')])
  expect(code, stderr).toBe(0)
})

describe('bundled for browsers, with the memory driver and lru-cache,', () => {
  let bundle: string
  beforeAll(async () => {
    const contents = `export { BentoCache, bentostore } from 'bentocache'\nexport { memoryDriver } from 'bentocache/drivers/memory'`
    // platform=browser refuses Node's modules, so having a bundle at all says that none is imported.
    const { outputFiles } = await build({
      stdin: { contents, resolveDir: project },
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      write: false,
      logLevel: 'silent',
    })
    bundle = outputFiles[0]!.text
  })

  test('it has 28.1 kB at most, gzipped; the bar of 15 kB is not met yet', () => {
    expect(gzipSync(bundle, { level: 9 }).length).toBeLessThanOrEqual(28_100)
  })

  test('it caches where there is no process and no Buffer', async () => {
    const directory = temporary()
    writeFileSync(join(directory, 'bundle.mjs'), bundle)
    writeFileSync(join(directory, 'page.mjs'), PAGE)
    expect(await runNode(directory, ['page.mjs'])).toEqual({ code: 0, stdout: '{"runs":1,"values":["Ada","Ada"]}\n', stderr: '' })
  })
})

test('the tarball holds what is built and the papers, no sources and no tests', async () => {
  const own = join(await unpacked(tarball, []), 'node_modules/bentocache')
  const { stdout } = await runNode(own, ['--print', `require('fs').readdirSync('.', { recursive: true }).join('\\n')`])
  const files = stdout.trim().split('\n')
  expect(files).toEqual(expect.arrayContaining(['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'dist']))
  expect(files.filter((file) => /(^|\/)(src|test|bench|scripts|node_modules)(\/|$)/.test(file))).toEqual([])
  expect(files.filter((file) => file.startsWith('dist/') && /(?<!\.d)\.ts$|\.map$/.test(file))).toEqual([])
})

const FOUNDING = `
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'

const bento = new BentoCache({
  default: 'posts',
  stores: { posts: bentostore().useL1Layer(memoryDriver({ maxSize: '10mb' })) },
})
const getPostFromDb = async (id: number) => ({ id, title: 'A post' })

export const positional: Promise<{ id: number; title: string }> = bento.getOrSet('post:1', () => getPostFromDb(1), { ttl: '1h' })
export const object: Promise<{ id: number; title: string }> = bento.getOrSet({ key: 'post:1', ttl: '1h', factory: () => getPostFromDb(1) })
`

const PAGE = `
const { log } = console
const { stringify } = JSON
delete globalThis.process
delete globalThis.Buffer
const { BentoCache, bentostore, memoryDriver } = await import('./bundle.mjs')
const bento = new BentoCache({ default: 'page', stores: { page: bentostore().useL1Layer(memoryDriver()) } })
let runs = 0
const factory = () => { runs++; return 'Ada' }
const values = await Promise.all([bento.getOrSet('name', factory), bento.getOrSet('name', factory)])
log(stringify({ runs, values }))
`
