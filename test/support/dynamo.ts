import { once } from 'node:events'
import type { Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb'

const dynalite: (options: object) => Server = createRequire(import.meta.url)('dynalite') // it has no types

export interface DynamoServer {
  /** What a client is made of: `region`, `endpoint`, `credentials`. */
  readonly connection: { region: string; endpoint: string; credentials: { accessKeyId: string; secretAccessKey: string } }
  readonly client: DynamoDBClient
  /** A table as the driver expects it; resolves its name. */
  createTable(): Promise<string>
  /** Requests of one operation, e.g. `BatchWriteItem`, since `resetRequests()`. */
  requests(operation: string): number
  resetRequests(): void
  stop(): Promise<void>
}

/** DynamoDB's API on the loopback, in memory, in this process. */
export async function startDynamo(): Promise<DynamoServer> {
  const server = dynalite({ createTableMs: 0, deleteTableMs: 0 })
  const counts = new Map<string, number>()
  server.on('request', (request) => {
    const operation = String(request.headers['x-amz-target']).split('.').at(-1)!
    counts.set(operation, (counts.get(operation) ?? 0) + 1)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const connection = {
    region: 'eu-west-1',
    endpoint: `http://127.0.0.1:${port}`,
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  }
  const client = new DynamoDBClient(connection)
  let tables = 0

  return {
    connection,
    client,
    async createTable() {
      const TableName = `cache_${++tables}`
      await client.send(
        new CreateTableCommand({
          TableName,
          KeySchema: [{ AttributeName: 'key', KeyType: 'HASH' }],
          AttributeDefinitions: [{ AttributeName: 'key', AttributeType: 'S' }],
          BillingMode: 'PAY_PER_REQUEST',
        })
      )
      return TableName
    },
    requests: (operation) => counts.get(operation) ?? 0,
    resetRequests: () => counts.clear(),
    async stop() {
      client.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
