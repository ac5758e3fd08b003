export { CacheBusMessageType } from './base/contract.js'
export type {
  Acquired,
  AcquireOptions,
  CacheBusMessage,
  CacheDriver,
  CacheSerializer,
  Clock,
  Ending,
  Feed,
  FeedEvent,
  FeedListener,
  L1CacheDriver,
  L2CacheDriver,
  Lease,
  LeaseCapability,
  LeaseInfo,
  Logger,
  ObjectStore,
  SettleOptions,
  SharedError,
  Transport,
  Transport as BusDriver,
  Watch,
} from './base/contract.js'
export type {
  Bytes,
  ClearOptions,
  DeleteByTagOptions,
  DeleteManyOptions,
  DeleteOptions,
  Duration,
  Emitter,
  ExpireOptions,
  Factory,
  GetOptions,
  GetOrSetForeverOptions,
  GetOrSetOptions,
  GetSetFactory,
  GetSetFactoryContext,
  HasOptions,
  InternalOperationWrapper,
  LeaseOptions,
  RawBentoCacheOptions,
  RawCommonOptions,
  RawStoreOptions,
  SetCommonOptions,
  SetOptions,
} from './base/options.js'
export type { Stats } from './base/stats.js'
export type { BentoCachePlugin } from './bento/bento-cache.js'
export type { RetryQueueOptions } from './bus/retry-queue.js'
export type { CacheProvider } from './cache/provider.js'
export type { BusOptions, CreateBusDriverResult, CreateDriverResult } from './cache/wire.js'
export type { CacheEvent, CacheEvents } from './observe/events.js'
export type { CacheOperationMessage } from './observe/tracing.js'
export type { CacheStackDrivers, DialectName, DriverCommonInternalOptions, DriverCommonOptions } from './base/driver-options.js'
export type { CacheDriverOptions } from './conformance/japa.js'
export type { DatabaseAdapter, DatabaseConfig } from './drivers/database/database.js'
export type { KnexConfig } from './drivers/database/knex.js'
export type { KyselyConfig } from './drivers/database/kysely.js'
export type { OrchidConfig } from './drivers/database/orchid.js'
export type { DynamoDBConfig } from './drivers/dynamodb.js'
export type { FileConfig } from './drivers/file/file.js'
export type { HostConfig } from './drivers/host/host.js'
export type { KeyvConfig } from './drivers/keyv/keyv.js'
export type { MemoryConfig } from './drivers/memory/memory.js'
export type { RedisBusConfig, RedisConfig } from './drivers/redis/redis.js'
