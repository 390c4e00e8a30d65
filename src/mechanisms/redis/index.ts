/**
 * Redis in each of its forms: one server, the one that Sentinels name, Cluster. What many gateways share is there; see `contract.ts`
 * for what it promises.
 */
export type * from './contract.ts'
export { createRedis } from './create-redis.ts'
export { RedisError, type RedisErrorCode } from './errors.ts'
export type { RedisLink } from './redis-link.ts'
export type { RedisOptions } from './redis-options.ts'
export {
  readTarget,
  REDIS_PREFIX,
  type RedisOptionProblem,
  type RedisPlaceOptions,
  type RedisTlsOptions,
} from './redis-target.ts'
