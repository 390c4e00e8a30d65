/**
 * The balancer: which origins there are, which of them carries a stream, and which WebRTC session is whose. A request
 * becomes a stream key here, the key is picked an origin, and the pick sticks once that origin accepted.
 */
export type * from './contract.ts'
export type { BalancerErrorCode } from './errors.ts'
export {
  type HttpStreamRequest,
  type KeyRules,
  parseStreamKey,
  type StreamKey,
  streamKeyOf,
  streamKeyOfHttp,
  streamKeyOfRtmp,
} from './stream-key.ts'
