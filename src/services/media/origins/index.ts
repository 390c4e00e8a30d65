/**
 * Origins that do not announce themselves, of any make: the configuration names them, this checks them, and tells the
 * balancer as if they did. It also asks origins for the streams that are published there past the gateways.
 */
export type { OriginsErrorCode } from './errors.ts'
export { OriginsService, type OriginsServiceOptions } from './origins-service.ts'
export type { StreamPlace } from './published-streams.ts'
export type { SrsPortName, StaticOrigin } from './static-origin.ts'
