import { sleep, systemClock } from '../base/clock.js'
import type { Clock, L2CacheDriver } from '../base/contract.js'
import { BaseDriver } from './base-driver.js'

export interface DynamoDBConfig {
  /**
   * A table whose partition key is `key`, a string. Time to live should be enabled on its attribute
   * `ttl`: nobody else removes what has expired.
   */
  table: { name: string }
  /** As the AWS SDK takes them; what is left out it finds in its environment. */
  credentials?: any
  region?: any
  endpoint?: any
  prefix?: string
}

interface Given {
  /** A `DynamoDBClient` of your own; it stays yours to close. */
  client?: Client
  clock?: Clock
}

/** What is used of a `DynamoDBClient`. */
interface Client {
  send(command: any): Promise<any>
  destroy(): void
}

/** What is used of `@aws-sdk/client-dynamodb`. */
type Sdk = Record<string, new (input: any) => any>

/** `ttl` in epoch seconds, absent = never. */
interface Item {
  key: { S: string }
  value?: { S?: string; N?: string }
  ttl?: { N: string }
}

/** Most items of one request, as DynamoDB has it. */
const MOST_WRITES = 25
const MOST_READS = 100
/** Requests at a time, where many are needed. */
const WIDTH = 8

/** L2 in a table of DynamoDB, through the package `@aws-sdk/client-dynamodb`. Ttls end at whole seconds. */
export function dynamoDbDriver(options: DynamoDBConfig) {
  return { options, factory: (config: DynamoDBConfig & Given): DynamoDbDriver => new DynamoDbDriver(config) }
}

export class DynamoDbDriver extends BaseDriver implements L2CacheDriver {
  readonly type = 'l2'
  declare config: DynamoDBConfig & Given
  readonly #table: Table
  readonly #clock: Clock

  constructor(config: DynamoDBConfig & Given, table?: Table) {
    super(config)
    this.#table = table ?? new Table(config)
    this.#clock = config.clock ?? systemClock
  }

  namespace(namespace: string): DynamoDbDriver {
    return new DynamoDbDriver({ ...this.config, prefix: this.createNamespacePrefix(namespace) }, this.#table)
  }

  async get(key: string): Promise<string | undefined> {
    return textOf(await this.#find(key))
  }

  async getMany(keys: string[]): Promise<(string | undefined)[]> {
    const names = keys.map((key) => this.getItemKey(key))
    const items = new Map<string, Item>()
    // Asked twice for a key in one request, DynamoDB refuses it.
    for (const item of await this.#table.getMany([...new Set(names)])) items.set(item.key.S, item)
    return names.map((name) => textOf(this.#alive(items.get(name))))
  }

  async pull(key: string): Promise<string | undefined> {
    const { Attributes } = await this.#table.send('DeleteItemCommand', { ...this.#item(key), ReturnValues: 'ALL_OLD' })
    return textOf(this.#alive(Attributes))
  }

  async set(key: string, text: string, ttl?: number): Promise<boolean> {
    const item: Item = { key: { S: this.getItemKey(key) }, value: { S: text } }
    if (ttl && ttl < Infinity) item.ttl = { N: String(Math.floor((this.#clock.now() + ttl) / 1_000)) }
    await this.#table.send('PutItemCommand', { Item: item })
    return true
  }

  async delete(key: string): Promise<boolean> {
    try {
      await this.#table.send('DeleteItemCommand', {
        ...this.#item(key),
        ConditionExpression: 'attribute_exists(#key) AND (attribute_not_exists(#ttl) OR #ttl >= :now)',
        ExpressionAttributeNames: { '#key': 'key', '#ttl': 'ttl' },
        ExpressionAttributeValues: { ':now': { N: String(this.#second()) } },
      })
      return true
    } catch (error) {
      if ((error as Error).name === 'ConditionalCheckFailedException') return false
      throw error
    }
  }

  async deleteMany(keys: string[]): Promise<boolean> {
    await this.#table.deleteMany([...new Set(keys.map((key) => this.getItemKey(key)))])
    return true
  }

  /** Milliseconds left, in whole seconds; Infinity for ever, 0 missing. */
  async remainingTtl(key: string): Promise<number> {
    const item = await this.#find(key)
    if (item?.ttl === undefined) return item === undefined ? 0 : Infinity
    return (Number(item.ttl.N) + 1) * 1_000 - this.#clock.now()
  }

  /** Without a prefix: everything in the table. */
  async clear(): Promise<void> {
    for await (const names of this.#table.keys(this.prefix ? `${this.prefix}:` : '')) await this.#table.deleteMany(names)
  }

  async disconnect(): Promise<void> {
    await this.#table.close()
  }

  async #find(key: string): Promise<Item | undefined> {
    // Consistent: a copy that lags would bring back what was deleted.
    const { Item } = await this.#table.send('GetItemCommand', { ...this.#item(key), ConsistentRead: true })
    return this.#alive(Item)
  }

  #item(key: string) {
    return { Key: { key: { S: this.getItemKey(key) } } }
  }

  /** DynamoDB removes what has expired days later. The last second belongs to the entry (1.6.1). */
  #alive(item: Item | undefined): Item | undefined {
    return item?.ttl !== undefined && Number(item.ttl.N) < this.#second() ? undefined : item
  }

  #second(): number {
    return Math.floor(this.#clock.now() / 1_000)
  }
}

/** A table and the client to it, of a driver and all its namespaces. */
class Table {
  readonly #name: string
  readonly #connect: (sdk: Sdk) => Client
  readonly #isOurs: boolean
  #connected: Promise<{ sdk: Sdk; client: Client }> | undefined

  constructor({ table, client, region, endpoint, credentials }: DynamoDBConfig & Given) {
    this.#name = table?.name ?? 'cache'
    this.#isOurs = client === undefined
    // An option left out is one the SDK looks for; given as undefined it is one it misses.
    const options = Object.entries({ region, endpoint, credentials }).filter(([, value]) => value !== undefined)
    this.#connect = (sdk) => client ?? (new sdk['DynamoDBClient']!(Object.fromEntries(options)) as Client)
  }

  async send(command: string, input: Record<string, unknown>): Promise<any> {
    return this.#request(command, { TableName: this.#name, ...input })
  }

  async getMany(names: string[]): Promise<Item[]> {
    const items: Item[] = []
    await inChunks(names, MOST_READS, async (some) => {
      const Keys = some.map((name) => ({ key: { S: name } }))
      const asked = { [this.#name]: { Keys, ConsistentRead: true } }
      await this.#untilDone('BatchGetItemCommand', asked, ({ Responses, UnprocessedKeys }) => {
        items.push(...(Responses?.[this.#name] ?? []))
        return UnprocessedKeys
      })
    })
    return items
  }

  async deleteMany(names: string[]): Promise<void> {
    await inChunks(names, MOST_WRITES, async (some) => {
      const requests = some.map((name) => ({ DeleteRequest: { Key: { key: { S: name } } } }))
      await this.#untilDone('BatchWriteItemCommand', { [this.#name]: requests }, ({ UnprocessedItems }) => UnprocessedItems)
    })
  }

  /** Page by page. A scan reads the whole table, whatever it looks for. */
  async *keys(prefix: string): AsyncGenerator<string[]> {
    const filter = prefix && {
      FilterExpression: 'begins_with(#key, :prefix)',
      ExpressionAttributeValues: { ':prefix': { S: prefix } },
    }
    const scan = { ...filter, ProjectionExpression: '#key', ExpressionAttributeNames: { '#key': 'key' }, ConsistentRead: true }
    let from: unknown
    do {
      const page = await this.send('ScanCommand', from === undefined ? scan : { ...scan, ExclusiveStartKey: from })
      yield (page.Items ?? []).map((item: Item) => item.key.S)
      from = page.LastEvaluatedKey
    } while (from !== undefined)
  }

  async close(): Promise<void> {
    if (!this.#isOurs || this.#connected === undefined) return
    await this.#connected.then(({ client }) => client.destroy(), () => {})
  }

  /** A busy table does a part of a request and gives back the rest. */
  async #untilDone(command: string, asked: object, rest: (answer: any) => object | undefined): Promise<void> {
    let left: object | undefined = asked
    for (let pause = 20; ; pause = Math.min(2 * pause, 1_000)) {
      left = rest(await this.#request(command, { RequestItems: left }))
      if (left === undefined || Object.keys(left).length === 0) return
      await sleep(systemClock, pause * Math.random())
    }
  }

  async #request(command: string, input: object): Promise<any> {
    const { sdk, client } = await (this.#connected ??= this.#open())
    return client.send(new sdk[command]!(input))
  }

  async #open(): Promise<{ sdk: Sdk; client: Client }> {
    const sdk = await load()
    return { sdk, client: this.#connect(sdk) }
  }
}

/** @throws when the package is not installed */
async function load(): Promise<Sdk> {
  try {
    return (await import('@aws-sdk/client-dynamodb')) as unknown as Sdk
  } catch (cause) {
    const message = 'The DynamoDB driver needs the package "@aws-sdk/client-dynamodb": npm install @aws-sdk/client-dynamodb'
    throw new Error(message, { cause })
  }
}

async function inChunks<T>(all: T[], size: number, work: (some: T[]) => Promise<void>): Promise<void> {
  const chunks: T[][] = []
  for (let at = 0; at < all.length; at += size) chunks.push(all.slice(at, at + size))
  const worker = async () => {
    for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) await work(chunk)
  }
  await Promise.all(Array.from({ length: Math.min(WIDTH, chunks.length) }, worker))
}

function textOf(item: Item | undefined): string | undefined {
  return item?.value?.S ?? item?.value?.N
}
