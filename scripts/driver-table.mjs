// @ts-check
/**
 * The table of docs/guide/drivers.md: what each driver can do, asked of the drivers themselves.
 *
 *   node scripts/driver-table.mjs            fails if the guide shows another table
 *   node scripts/driver-table.mjs --update   writes it into the guide
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import knex from 'knex'
import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely'
import { createDb } from 'orchid-orm/node-postgres'
import { publicDoors } from './floors.mjs'
import { ROOT } from './steps.mjs'

const GUIDE = join(ROOT, 'docs/guide/drivers.md')
const [BEGIN, END] = ['<!-- Written by `npm run table -- --update` -->\n', '<!-- The end of it -->\n']
/** Nobody listens there, and nobody is asked. */
const NOWHERE = { host: '127.0.0.1', port: 1 }

/**
 * Drivers that are not connected yet: what they can do they say at once.
 * @type {Record<string, { peers: string, open: (door: any, directory: string) => any }>}
 */
const DRIVERS = {
  memory: { peers: '', open: ({ memoryDriver }) => memoryDriver({}) },
  redis: {
    peers: 'ioredis, or redis',
    open: ({ redisDriver }) => redisDriver({ connection: { ...NOWHERE, lazyConnect: true } }),
  },
  postgres: { peers: 'pg', open: ({ postgresDriver }) => postgresDriver({ connection: NOWHERE }) },
  host: { peers: 'lmdb', open: ({ hostDriver }, directory) => hostDriver({ directory }) },
  file: { peers: '', open: ({ fileDriver }, directory) => fileDriver({ directory }) },
  knex: { peers: 'knex', open: ({ knexDriver }) => knexDriver({ connection: knex({ client: 'pg' }) }) },
  kysely: { peers: 'kysely', open: ({ kyselyDriver }) => kyselyDriver({ connection: new Kysely({ dialect: unconnected }) }) },
  orchid: {
    peers: 'orchid-orm',
    open: ({ orchidDriver }) => orchidDriver({ connection: createDb({ databaseURL: `postgres://${NOWHERE.host}:1/none`, log: false }) }),
  },
  dynamodb: {
    peers: '@aws-sdk/client-dynamodb',
    open: ({ dynamoDbDriver }) =>
      dynamoDbDriver({ table: { name: 'none' }, region: 'none', endpoint: 'http://127.0.0.1:1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } }),
  },
  keyv: { peers: 'keyv', open: ({ keyvDriver }) => keyvDriver({ connection: new Map() }) },
}

const unconnected = {
  createAdapter: () => new PostgresAdapter(),
  createDriver: () => new DummyDriver(),
  createIntrospector: (/** @type {Kysely<any>} */ db) => new PostgresIntrospector(db),
  createQueryCompiler: () => new PostgresQueryCompiler(),
}

/** Doors without an engine: a base class, and a driver for adapters. */
const NO_DRIVERS = ['./drivers/base_driver', './drivers/database']

const HEAD = ['Import', 'Tier', 'Needs', 'One query for', 'Who waits', 'Leases end by', 'L1 of other processes', 'What has expired goes', 'In one step']

const table = await drivers()
const guide = readFileSync(GUIDE, 'utf8')
const [before, rest = ''] = guide.split(BEGIN)
const [shown, after] = rest.split(END)

if (after === undefined) fail(`docs/guide/drivers.md has lost the lines ${BEGIN}and ${END}`)
else if (shown === table) console.log(`table: ${Object.keys(DRIVERS).length} drivers, as the guide shows them`)
else if (process.argv.includes('--update')) writeFileSync(GUIDE, [before, BEGIN, table, END, after].join(''))
else fail('The table of docs/guide/drivers.md is not what the drivers say: npm run table -- --update')

/** The whole table. */
async function drivers() {
  const unlisted = [...publicDoors(ROOT).keys()].filter((door) => door.startsWith('./drivers/') && !NO_DRIVERS.includes(door))
  const missing = unlisted.map((door) => door.slice('./drivers/'.length)).filter((name) => !(name in DRIVERS))
  if (missing.length > 0) fail(`scripts/driver-table.mjs knows nothing of: ${missing.join(', ')}`)
  const rows = []
  for (const name of Object.keys(DRIVERS)) rows.push(await row(name))
  return [HEAD, HEAD.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('')
}

/** @param {string} name */
async function row(name) {
  const { peers, open } = /** @type {typeof DRIVERS[string]} */ (DRIVERS[name])
  const directory = mkdtempSync(join(tmpdir(), 'bentocache-table-'))
  const door = await load(/** @type {string} */ (publicDoors(ROOT).get(`./drivers/${name}`)))
  const { factory, options } = open(door, directory)
  const driver = factory({ ...options, prefix: 'p' })
  try {
    const info = driver.lease?.leaseInfo
    const tier = Object.keys(door).some((key) => key.endsWith('BusDriver')) ? 'L2, bus' : driver.type.toUpperCase()
    const scopes = { process: 'the process', host: 'all processes of the machine', fleet: 'the fleet' }
    const members = ['getMany', 'expire', 'remainingTtl'].filter((member) => typeof driver[member] === 'function')
    return [
      `\`bentocache/drivers/${name}\``,
      tier,
      needs(peers),
      scopes[/** @type {keyof scopes} */ (info?.scope ?? 'process')],
      info === undefined ? '–' : info.wakeup === 'push' ? 'is told' : 'asks again',
      info === undefined ? '–' : info.clock === 'server' ? 'the server’s clock' : 'the clock of the machine',
      driver.type === 'l1' ? '–' : info?.feed ? 'told by the driver' : 'by a bus',
      typeof driver.prune === 'function' ? 'with `prune()`' : 'by itself',
      driver.type === 'l1' ? '–' : members.map((member) => `\`${member}\``).join(' ') || '–',
    ]
  } finally {
    await driver.disconnect()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A source file and all it imports, as this Node can run it. @param {string} source */
async function load(source) {
  // Below the repository, so that packages are found.
  const outfile = join(ROOT, 'node_modules/.cache/driver-table', source.replaceAll(/[/.]/g, '-') + `-${process.pid}.mjs`)
  mkdirSync(join(outfile, '..'), { recursive: true })
  try {
    await build({ entryPoints: [join(ROOT, 'src', source)], outfile, bundle: true, packages: 'external', platform: 'node', format: 'esm' })
    return await import(pathToFileURL(outfile).href)
  } finally {
    rmSync(outfile, { force: true })
  }
}

/** `ioredis, or redis` with the versions that package.json allows. @param {string} peers */
function needs(peers) {
  /** @type {{ peerDependencies: Record<string, string> }} */
  const { peerDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  if (peers === '') return '–'
  return peers.replaceAll(/[@\w][\w/-]+/g, (peer) => {
    if (peer === 'or') return peer
    const range = peerDependencies[peer]
    if (range === undefined) fail(`${peer} is no peer dependency`)
    return `\`${peer}\` ${versions(range ?? '')}`
  })
}

/** `^5.3.2 || ^6.0.0` → 5 or 6. @param {string} range */
function versions(range) {
  const majors = [...range.matchAll(/\^(\d+)/g)].map(([, major]) => major)
  return majors.length > 0 ? majors.join(' or ') : `${/[\d.]+/.exec(range)?.[0]} or later`
}

/** @param {string} message */
function fail(message) {
  console.error(message)
  process.exitCode = 1
}
