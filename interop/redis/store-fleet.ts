import {
  MemoryBalancerStore,
  type MemoryBalancerStoreOptions,
  RedisBalancerStore,
} from '../../src/mechanisms/balancer/index.ts'
import { describeIdle } from '../../src/mechanisms/fleet/idle-member.testkit.ts'
import { newGatewayId, RedisFleet } from '../../src/mechanisms/fleet/index.ts'
import { createRedis, type RedisLink, type RedisOptions } from '../../src/mechanisms/redis/index.ts'
import { createLogger, createRegistry } from '../../src/mechanisms/telemetry/index.ts'

/** As much of a gateway as shares: its connection, its place in the fleet, its store. */
export interface StoreMember extends AsyncDisposable {
  readonly name: string
  readonly store: RedisBalancerStore
  readonly fleet: RedisFleet
  readonly redis: RedisLink
  /** Ends it without a word, as a kill does. */
  kill(): Promise<void>
}

export interface StoreFleetOptions extends MemoryBalancerStoreOptions {
  readonly redis: Partial<RedisOptions>
  /** @defaultValue 1000 */
  readonly leaseMs?: number
}

/** Opens stores of several gateways on one Redis; each has a name, from `a` on. */
export async function openStores(count: number, options: StoreFleetOptions): Promise<readonly StoreMember[]> {
  const members: StoreMember[] = []
  for (let at = 0; at < count; at++) members.push(await openStore(String.fromCodePoint(97 + at), options))
  return members
}

export async function openStore(name: string, options: StoreFleetOptions): Promise<StoreMember> {
  const { redis: place, leaseMs = 1000, ...given } = options
  const logger = createLogger({ level: 'silent' })
  const registry = createRegistry('test')
  const redis = createRedis({ ...place, logger, registry })
  const fleet = new RedisFleet({
    redis,
    id: newGatewayId(name),
    version: '0',
    describe: describeIdle,
    logger,
    registry,
    leaseMs,
  })
  const local = new MemoryBalancerStore(given)
  const { heartbeatTtlMs, pickIdleMs, sessionTtlMs } = given
  const store = new RedisBalancerStore({
    redis,
    fleet,
    local,
    logger,
    registry,
    secret: 'the secret of all gateways',
    ...(heartbeatTtlMs !== undefined && { heartbeatTtlMs }),
    ...(pickIdleMs !== undefined && { pickIdleMs }),
    ...(sessionTtlMs !== undefined && { sessionTtlMs }),
  })
  await redis.start()
  await fleet.start()
  await store.start()
  const close = async (): Promise<void> => {
    await store.close()
    await fleet.close()
    await redis.close()
  }
  return {
    name,
    store,
    fleet,
    redis,
    async kill() {
      // Without Redis nobody can say goodbye.
      await redis.close()
      await close()
    },
    [Symbol.asyncDispose]: close,
  }
}
