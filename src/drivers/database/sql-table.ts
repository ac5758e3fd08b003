export type Engine = 'postgres' | 'mysql' | 'sqlite'

export type Condition = readonly [
  column: 'key' | 'expires_at',
  operator: '=' | 'in' | 'like' | '<' | '<=' | '>' | '>=',
  operand: unknown,
]

/** `expires_at` as it is stored, and under a name that no case converter touches. */
export interface SqlRow {
  key: unknown
  value: unknown
  expires: unknown
}

/** A column as MySQL's information schema describes it. */
export interface ColumnFacts {
  name: string
  type: string
  charset: string | null
  collation: string | null
  length: number | null
  precision: number | null
}

/** One table as one query builder speaks to it: statements, no cache. Conditions all hold. */
export interface SqlTable {
  readonly engine: Engine
  /** Rejects when the table is not there. */
  rows(where: Condition[]): Promise<SqlRow[]>
  /** In the order of the engine. */
  keys(where: Condition[], limit: number): Promise<unknown[]>
  /** Where the engine takes the key for the one of a row, that row becomes this one, key included. */
  upsert(row: { key: string; value: unknown; expires_at: unknown }): Promise<void>
  /** How many there were. */
  delete(where: Condition[]): Promise<number>
  /** `collation`: of the column `key`. */
  create(collation?: string): Promise<void>
  close(): Promise<void>
  /** PostgreSQL: the type of `expires_at`. */
  typeOfEnd?(): Promise<string>
  /** MySQL: the columns of the table. */
  columns?(): Promise<ColumnFacts[]>
  /** MySQL: those of these collations that it has. */
  collations?(names: string[]): Promise<string[]>
}
