import { sourceConstant } from './source-constants.ts'

/** How often gateways do what they do again and again, and for how long what they write holds; as their code says. */
export interface Periods {
  /** An origin that was not heard of for so long is silent, and gone from Redis. */
  readonly originTtlMs: number
  /** Each gateway reads the lists of origins so often. */
  readonly listReadMs: number
  /** And each origin so long after it was heard of last. */
  readonly originReadMs: number
  /** Orders of operators. */
  readonly ordersReadMs: number
  /** A stream that is used is renewed by each gateway that uses it. */
  readonly useRenewMs: number
  /** Looks for streams that are to be renewed. */
  readonly useSweepMs: number
  readonly sessionRenewMs: number
  readonly leaseMs: number
  readonly leaseRenewMs: number
  /** How long a command waits for its answer. */
  readonly commandDeadlineMs: number
  /** Streams, and sessions, that are said again at a time after Redis was away. */
  readonly saysAtATime: number
  readonly saysSessionsAtATime: number
  /** Origins that were heard of within this time are said again, too. */
  readonly saysOriginsOfMs: number
  /** All begin to say so within this time. */
  readonly saysWithinMs: number
}

const STORE = 'balancer/redis'

/** @throws Error when the code has changed, and the model has not */
export function readPeriods(): Periods {
  const pickIdleMs = sourceConstant('balancer/memory-store.ts', 'pickIdleMs')
  const sessionTtlMs = sourceConstant('balancer/memory-store.ts', 'sessionTtlMs')
  const originTtlMs = sourceConstant('balancer/memory-store.ts', 'heartbeatTtlMs')
  const sessionSaidMs = sourceConstant('../services/media/webrtc/sessions.ts', 'renewEveryMs')
  const leaseMs = sourceConstant('fleet/redis-fleet.ts', 'leaseMs')
  return {
    originTtlMs,
    listReadMs: sourceConstant(`${STORE}/shared-origins.ts`, 'REFRESH_MS'),
    originReadMs: originTtlMs * sourceConstant(`${STORE}/shared-origins.ts`, 'READ_AGAIN'),
    ordersReadMs: sourceConstant(`${STORE}/shared-orders.ts`, 'REFRESH_MS'),
    useRenewMs: pickIdleMs * sourceConstant(`${STORE}/stream-shares.ts`, 'RENEWAL'),
    useSweepMs: Math.min(
      sourceConstant(`${STORE}/stream-shares.ts`, 'FRESH_MS'),
      pickIdleMs * sourceConstant(`${STORE}/stream-shares.ts`, 'FRESH'),
    ),
    // Those who use a session say so every now and then, and the store renews what is due then.
    sessionRenewMs: Math.ceil((sessionTtlMs * 2) / 3 / sessionSaidMs) * sessionSaidMs,
    leaseMs,
    leaseRenewMs: leaseMs / 3,
    commandDeadlineMs: 1000,
    saysAtATime: sourceConstant(`${STORE}/stream-talk.ts`, 'AT_A_TIME'),
    saysSessionsAtATime: sourceConstant(`${STORE}/in-batches.ts`, 'BATCH'),
    saysOriginsOfMs: originTtlMs * sourceConstant(`${STORE}/shared-origins.ts`, 'SAY_AGAIN'),
    saysWithinMs: sourceConstant(`${STORE}/shared-origins.ts`, 'SPREAD_MS'),
  }
}
