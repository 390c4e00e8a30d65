/**
 * The balancer: which origins there are, which of them carries a stream, and which WebRTC session is whose. A request
 * becomes a stream key here, the key is picked an origin, and the pick sticks once that origin accepted.
 */
export { registerBalancerMetrics } from './balancer-metrics.ts'
export type { BalancerStats, PickResult } from './balancer-stats.ts'
export type * from './contract.ts'
export { NEEDS } from './contract.ts'
export type { BalancerErrorCode } from './errors.ts'
export { MemoryBalancerStore, type MemoryBalancerStoreOptions } from './memory-store.ts'
export { ENDPOINT_LISTS, type EndpointList, originPort, parseOriginEndpoint } from './origin-endpoint.ts'
export { isDialable, withoutBrackets } from './origin-host.ts'
export { isOriginId, originIdOf } from './origin-id.ts'
export { offers, originTarget, type OriginTarget, originUrlFault } from './origin-target.ts'
export { originView, type OriginView } from './origin-view.ts'
export { queryParameter } from './percent-decode.ts'
export { RedisBalancerStore, type RedisBalancerStoreOptions } from './redis/redis-store.ts'
export { registerSharingMetrics } from './redis/sharing-metrics.ts'
export type { AppRule, PlacementOptions } from './placement.ts'
export { POLICIES, type PolicyName } from './policy.ts'
export { isReadAlikeBySrs } from './srs-query.ts'
export { percentEncodePart, type StreamKeyParts, streamKeyParts } from './stream-key-parts.ts'
export {
  type HttpStreamRequest,
  type KeyRules,
  parseStreamKey,
  type StreamKey,
  streamKeyOf,
  streamKeyOfHttp,
  streamKeyOfRtmp,
} from './stream-key.ts'
export { streamKeyOfSrt } from './srt-stream-key.ts'
