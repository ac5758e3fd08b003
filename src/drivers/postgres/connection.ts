import { createRequire } from 'node:module'
import { after, systemClock } from '../../base/clock.js'
import { E_INVALID_OPTION } from '../../base/errors.js'
import { ignore, within } from '../../base/promises.js'

/** Whatever runs a statement: a pool, a client in a transaction, a query builder. */
export interface Sql {
  /** `$1 …`, each once and in order. */
  query(sql: string, parameters: readonly unknown[]): Promise<Record<string, any>[]>
}

export interface Connection extends Sql {
  /** Where values are, for telling apart: the same for all processes that share them. */
  readonly raw: unknown
  /** A connection of its own, not yet listening; undefined where none can be made. */
  dedicated(): Promise<PgClient | undefined>
  /** Closes what is ours, in a second at most. */
  close(): Promise<void>
}

/** What is used of `pg`'s `Client`. */
export interface PgClient {
  query(sql: string, parameters?: any): Promise<{ rows: any[] }>
  on(event: any, listener: (...args: any[]) => void): unknown
  off(event: any, listener: (...args: any[]) => void): unknown
  end(): Promise<void>
}

/** What is used of `pg`'s `Pool`. */
export interface PgPool {
  query(...args: any[]): any
  connect(...args: any[]): any
  end(...args: any[]): any
  on(event: any, listener: (...args: any[]) => void): unknown
  off(event: any, listener: (...args: any[]) => void): unknown
  readonly options: any
  readonly totalCount: number
}

const CONNECT_TIMEOUT = 5_000
const QUERY_TIMEOUT = 30_000

/** @throws E_INVALID_OPTION */
export function checkConnection(connection: unknown): void {
  if (isPool(connection) || isKnex(connection) || isKysely(connection) || isOptions(connection)) return
  throw new E_INVALID_OPTION('connection', connection, 'options of pg, a Pool of pg, or a knex or Kysely on PostgreSQL')
}

/** `listener`: how to reach PostgreSQL for a connection of its own, where `connection` leads through a pooler. */
export function openConnection(connection: unknown, listener?: unknown): Connection {
  checkConnection(connection)
  const isOurs = isOptions(connection)
  const pool = isOurs ? lazily(() => poolOf(connection)) : isPool(connection) ? () => connection : undefined
  // A connection that breaks while it is idle is none of the program's business.
  if (isPool(connection)) connection.on('error', ignoreError)
  const run = pool === undefined ? sqlOf(connection) : { query: (sql: string, parameters: readonly unknown[]) => rowsOf(pool(), sql, parameters) }
  let isOpened = false
  return {
    raw: connection,
    query(sql, parameters) {
      isOpened = true
      return run.query(sql, parameters)
    },
    dedicated: () => dedicated(listener ?? connection),
    async close() {
      if (isPool(connection)) connection.off('error', ignoreError)
      if (!isOurs || !isOpened) return
      const closed = Promise.resolve(pool!().end())
      ignore(closed)
      await within(systemClock, closed, 1_000)
    },
  }
}

/** A client that is in a transaction, of whichever library. @throws E_INVALID_OPTION */
export function sqlOf(client: unknown): Sql {
  if (isKnex(client)) {
    return { query: async (sql, parameters) => (await client.raw(sql.replace(/\$\d+/g, '?'), [...parameters])).rows ?? [] }
  }
  if (isKysely(client)) {
    return {
      async query(sql, parameters) {
        const node = { kind: 'RawNode', sqlFragments: [sql], parameters: [] }
        const { rows } = await client.executeQuery({ sql, parameters: [...parameters], query: node, queryId: { queryId: 'bentocache' } })
        return rows ?? []
      },
    }
  }
  if (typeof (client as PgClient | null)?.query === 'function') {
    return { query: (sql, parameters) => rowsOf(client as PgClient, sql, parameters) }
  }
  throw new E_INVALID_OPTION('client', client, 'a client of pg, or a transaction of knex or Kysely')
}

async function rowsOf(client: PgClient | PgPool, sql: string, parameters: readonly unknown[]): Promise<Record<string, any>[]> {
  return (await client.query(sql, [...parameters])).rows ?? []
}

function poolOf(options: object): PgPool {
  const { Pool } = pg()
  // A step takes a fraction of a millisecond, a connection a process of the server: a few carry thousands of calls a second.
  const own = { max: 4, connectionTimeoutMillis: CONNECT_TIMEOUT, query_timeout: QUERY_TIMEOUT, keepAlive: true }
  const pool: PgPool = new Pool({ ...own, ...options })
  pool.on('error', ignoreError)
  return pool
}

async function dedicated(target: unknown): Promise<PgClient | undefined> {
  if (isKysely(target)) return undefined
  if (isKnex(target)) {
    const client: PgClient = await target.client.acquireRawConnection()
    client.on('error', ignoreError)
    return client
  }
  const { options, Client } = isPool(target)
    ? { options: target.options, Client: (target as any).Client ?? pg().Client }
    : { options: target as object, Client: pg().Client }
  const client = new Client(options)
  client.on('error', ignoreError)
  const stop = after(systemClock, CONNECT_TIMEOUT, () => destroy(client))
  try {
    await client.connect()
  } catch (error) {
    destroy(client)
    throw error
  } finally {
    stop()
  }
  return client
}

/** Without a goodbye that nobody may be there to hear. */
export function destroy(client: PgClient): void {
  const { stream } = (client as any).connection ?? {}
  if (stream === undefined) ignore(Promise.resolve(client.end()))
  else stream.destroy()
}

function isPool(candidate: unknown): candidate is PgPool {
  const { query, connect, end, options, totalCount } = (candidate ?? {}) as Partial<PgPool>
  const methods = [query, connect, end]
  return methods.every((method) => typeof method === 'function') && typeof options === 'object' && typeof totalCount === 'number'
}

function isKnex(candidate: unknown): candidate is { raw: (...args: any[]) => any; client: any } {
  const { raw, client } = (candidate ?? {}) as any
  return typeof raw === 'function' && /postgres|pg|cockroach|redshift/.test(String(client?.dialect))
}

function isKysely(candidate: unknown): candidate is { getExecutor(): any; executeQuery(query: any): Promise<any> } {
  const { getExecutor, executeQuery } = (candidate ?? {}) as any
  return typeof getExecutor === 'function' && typeof executeQuery === 'function'
}

function isOptions(candidate: unknown): candidate is object {
  return typeof candidate === 'object' && candidate !== null && [Object.prototype, null].includes(Object.getPrototypeOf(candidate))
}

/** @throws when the package is not installed */
function pg(): any {
  try {
    // Only now: whoever passes a connection of their own needs no pg of ours.
    return createRequire(import.meta.url)('pg')
  } catch (cause) {
    throw new Error('The PostgreSQL driver connects through the package "pg": npm install pg', { cause })
  }
}

function lazily<T extends object>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}

function ignoreError(): void {}
