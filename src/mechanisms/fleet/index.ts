/** The gateways that act as one: who they are, and messages between them. */
export type * from './contract.ts'
export { Drain, type DrainLeft, type DrainOptions, type DrainState } from './drain.ts'
export type { FleetErrorCode } from './errors.ts'
export { gatewayId, isGatewayId, newGatewayId } from './gateway-id.ts'
export { isChosen } from './is-chosen.ts'
export { type Describe, LoneFleet, type LoneFleetOptions } from './lone-fleet.ts'
export { ProcessLoad } from './process-load.ts'
export { RedisFleet, type RedisFleetOptions } from './redis-fleet.ts'
