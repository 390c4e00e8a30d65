/** What operators reach over HTTP: health, metrics, and the list of gateways, origins, streams and sessions. */
export { AdminService, type AdminServiceOptions } from './admin-service.ts'
export type { DrainControl, DrainView } from './drain-routes.ts'
export type { AdminErrorCode } from './errors.ts'
export type { GatewayView, RedisView } from './gateway-view.ts'
export type { ReadinessCheck, ReadinessView } from './readiness.ts'
export type { FleetView, StatusView, StreamView } from './status-routes.ts'
