import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { leaseCases, storageCases } from '../../src/conformance/index.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { PostgresDriver, postgresDriver } from '../../src/drivers/postgres/postgres.js'
import { BentoCache, bentostore } from '../../src/index.js'
import { until } from '../support/redis.js'
import { startPgBouncer, startPostgres } from '../support/sql.js'
import type { Pooler, SqlServer } from '../support/sql.js'

let server: SqlServer
let pooler: Pooler
/** Past the pooler, and through it. */
let direct: { host: string; port: number; user: string; database: string }
let pooled: typeof direct
const ends: (() => unknown)[] = []
beforeAll(async () => {
  server = await startPostgres()
  pooler = await startPgBouncer(server)
  direct = { host: server.host, port: server.port, user: server.user, database: await server.createDatabase() }
  pooled = { ...direct, port: pooler.port }
})
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})
afterAll(async () => {
  await pooler?.stop()
  await server?.stop()
})

describe('storage through PgBouncer in transaction mode', () => {
  for (const { name, run } of storageCases) {
    test(name, () => run({ assert, createDriver: ({ prefix = 'kit' } = {}) => new PostgresDriver({ connection: pooled, prefix }) }))
  }
})

describe('leases through PgBouncer in transaction mode', () => {
  for (const { name, run } of leaseCases) {
    const driver = () => new PostgresDriver({ connection: pooled, prefix: 'kit' })
    const createDrivers = async (): Promise<[PostgresDriver, PostgresDriver]> => [driver(), driver()]
    const foreignWrite = async (_: unknown, key: string, value: string) => {
      const sql = `insert into bentocache (key, value) values ($1, $2) on conflict (key) do update set value = $2, expires_at = null`
      await server.query(direct.database, sql, [`kit:${key}`, value])
    }
    test(name, () => run({ assert, createDrivers, foreignWrite }))
  }
})

/** A process of its own. */
function processOf(o: { listener?: typeof direct; warnings?: string[] } = {}) {
  const logger: any = { warn: (_: unknown, message: string) => o.warnings?.push(message) }
  for (const level of ['trace', 'debug', 'info', 'error', 'fatal']) logger[level] = () => {}
  logger.child = () => logger
  const l2 = postgresDriver({ connection: pooled, listener: o.listener })
  let driver!: PostgresDriver
  const observed = { ...l2, factory: (options: any) => (driver = l2.factory(options)) }
  const bento = new BentoCache({ default: 'main', logger, stores: { main: bentostore().useL1Layer(memoryDriver()).useL2Layer(observed) } })
  bento.use()
  ends.push(() => bento.disconnectAll())
  return { bento, l2, driver }
}

describe('a store behind PgBouncer in transaction mode', () => {
  test('says once what it cannot do, and polls', async () => {
    const warnings: string[] = []
    const { bento, driver } = processOf({ warnings })
    await bento.set({ key: 'first', value: 1 })
    await until(() => warnings.length > 0)
    expect(driver.lease.leaseInfo).toEqual({ scope: 'fleet', wakeup: 'poll', clock: 'server', feed: false })
    await sleep(3_000) // as much as it took to find out, and some rounds of verification
    expect(warnings).toEqual([expect.stringMatching(/notifications do not arrive.*PgBouncer.*ask for news instead of hearing/)])
    expect(driver.lease.leaseInfo.wakeup).toBe('poll')
  })

  test('many callers of many processes cause one run, and get its value soon after', async () => {
    const processes = Array.from({ length: 5 }, () => processOf())
    await Promise.all(processes.map(({ bento }) => bento.get({ key: 'connect' })))
    await sleep(2_500) // all of them know by now that they cannot hear
    let runs = 0
    const factory = () => (runs++, sleep(300, 'value'))
    const began = Date.now()
    const callers = processes.flatMap(({ bento }) => Array.from({ length: 20 }, () => bento.getOrSet({ key: 'cold', factory, ttl: '1m' })))
    expect(new Set(await Promise.all(callers))).toEqual(new Set(['value']))
    expect(runs).toBe(1)
    expect(Date.now() - began).toBeLessThan(300 + 600)
  })

  test('an invalidation inside a transaction of the program holds', async () => {
    const { bento, l2 } = processOf()
    await bento.set({ key: 'user', value: 'old', ttl: '1m' })
    const pool = new pg.Pool(pooled)
    ends.push(() => pool.end())
    const client = await pool.connect()
    await client.query('begin')
    await l2.invalidateIn(client, 'user')
    await client.query('rollback')
    expect(await server.query(direct.database, `select key from bentocache where key = 'bentocache:user'`)).toHaveLength(1)
    await client.query('begin')
    await l2.invalidateIn(client, 'user')
    await client.query('commit')
    client.release()
    expect(await server.query(direct.database, `select key from bentocache where key = 'bentocache:user'`)).toHaveLength(0)
    expect(await processOf().bento.get({ key: 'user' })).toBeUndefined()
  })

  test('with a `listener` that leads past it, nothing is missing', async () => {
    const [a, b] = [processOf({ listener: direct }), processOf({ listener: direct })]
    await a.bento.set({ key: 'key', value: 'first', ttl: '1m' })
    await until(async () => (await b.bento.get({ key: 'key' })) === 'first')
    await a.bento.set({ key: 'key', value: 'second', ttl: '1m' })
    await until(async () => (await b.bento.get({ key: 'key' })) === 'second', 2_000)
    await sleep(2_500)
    for (const { driver } of [a, b]) expect(driver.lease.leaseInfo).toEqual({ scope: 'fleet', wakeup: 'push', clock: 'server', feed: true })
    expect(await a.driver.get('key')).toContain('second')
  })
})
