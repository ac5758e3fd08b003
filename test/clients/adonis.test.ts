import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROOT } from '../package/packed.js'
import { startRedis } from '../support/redis.js'
import type { RedisServer } from '../support/redis.js'
import { startPostgres } from '../support/sql.js'
import type { SqlServer } from '../support/sql.js'
import { client } from './client.js'
import type { Client } from './client.js'

const { nodeProgram } = (await import(new URL('../../scripts/node-matrix.mjs', import.meta.url).href)) as {
  nodeProgram(version: number): Promise<string | undefined>
}
const own = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }

let redis: RedisServer
let postgres: SqlServer
beforeAll(async () => {
  ;[redis, postgres] = await Promise.all([startRedis(), startPostgres()])
})
afterAll(() => Promise.all([redis.stop(), postgres.stop()]))

const WRITTEN = [{ id: 1, name: 'Ada' }, 'text', [1], 'post']
const gone = null // as JSON has it for undefined in an array

describe.each([
  { what: 'AdonisJS 6 with @adonisjs/cache 1', folder: 'adonis-6', version: undefined },
  { what: 'AdonisJS 7 with @adonisjs/cache 2, on Node 24', folder: 'adonis-7', version: 24 },
])('$what', ({ folder, version }) => {
  let app: Client
  let database: string
  let env: NodeJS.ProcessEnv
  beforeAll(async () => {
    const node = version === undefined ? process.execPath : await nodeProgram(version)
    if (node === undefined) throw new Error(`Node ${version} could not be installed`)
    app = await client(folder, { files: 'adonis', node })
    database = await postgres.createDatabase()
    env = { REDIS_PORT: `${redis.port}`, DATABASE_URL: `${postgres.url}/${database}` }
    await redis.client().flushall()
  })

  const program = async (work: string) => {
    const { code, stdout, output } = await app.run(['bin/program.js', work], env)
    expect(code, output).toBe(0)
    return JSON.parse(stdout)
  }
  const ace = (...args: string[]) => app.run(['ace.js', ...args], env)
  const says = async (sentence: string, ...args: string[]) => {
    const { code, output } = await ace(...args)
    expect(output).toContain(sentence)
    expect(code, output).toBe(0)
  }
  /** A command takes a second or two to start: one after the other for each store. */
  const tidyUp = async (store: string) => {
    await says(`Deleted cache key "deleted" from "${store}"`, 'cache:delete', 'deleted', store)
    await says(`Invalidated tags [users] for "${store}"`, 'cache:clear', store, '--tags', 'users')
    await says(`Cleared namespace "posts" for "${store}"`, 'cache:clear', store, '--namespace', 'posts')
    if (store === 'database') await says('Pruned expired entries from "database"', 'cache:prune', store)
    else await says(`Cache key "deleted" not found in "${store}"`, 'cache:delete', 'deleted', store)
  }
  const rows = async () => (await postgres.query(database, 'select key from bentocache order by key')).map(({ key }) => key)

  test('runs on this package and on no other', () => {
    expect(app.bentocaches).toEqual([{ path: 'node_modules/bentocache', version: own.version }])
  })

  test('reads, writes, tags, deletes and clears through memory, Redis and a table, and ends by itself', async () => {
    const { stores, events } = await program('verbs')
    for (const name of ['memory', 'redis', 'database']) {
      expect(stores[name], name).toEqual({
        runs: 1,
        crowd: 1,
        written: WRITTEN,
        untagged: [gone, ...WRITTEN.slice(1)],
        deleted: [true, false],
        pulled: [[1], false],
        rest: [gone, gone, gone, gone],
        cleared: true,
      })
    }
    const names = ['cache:cleared', 'cache:deleted', 'cache:hit', 'cache:written']
    expect(events).toEqual(['database', 'memory', 'redis'].flatMap((store) => names.map((name) => `${store} ${name}`)))
  })

  test('its ace commands delete, clear and prune what another process wrote', async () => {
    const everything = ['kept', 'deleted', 'tagged', 'posts:1']
    expect(await program('seed')).toEqual({ redis: everything, database: everything })
    expect(await rows()).toContain('bentocache:short')

    await Promise.all(['redis', 'database'].map((store) => tidyUp(store)))
    expect(await program('read')).toEqual({ redis: ['kept'], database: ['kept'] })
    expect(await rows()).not.toContain('bentocache:short')

    await Promise.all(['redis', 'database'].map((store) => says(`Cleared "${store}"`, 'cache:clear', store)))
    expect(await program('read')).toEqual({ redis: [], database: [] })
    expect(await ace('cache:clear', 'nowhere')).toMatchObject({ code: 1, output: expect.stringContaining('"nowhere" is not a valid cache store') })
  })
})
