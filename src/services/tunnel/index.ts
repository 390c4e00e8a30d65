/**
 * The tunnel role: services behind a NAT are reached at a public server. `TunnelServer` is frps, `TunnelClient` frpc; both
 * speak frp's wire protocols with the real programs (reference frp.md).
 *
 * Data flow: a user connects to the server → `server/proxy-backend.ts` takes a work connection of the client → the two are
 * joined → `client/` connects the local service and joins it likewise.
 *
 * @module
 */
export { clientAuth } from './auth/client-auth.ts'
export type { ClientAuth, ServerAuth } from './auth/contract.ts'
export { serverAuth } from './auth/server-auth.ts'
export * from './client/index.ts'
export type { TunnelError, TunnelErrorCode } from './errors.ts'
export { frpVersion } from './frp-version.ts'
export { TunnelServer, type TunnelServerOptions } from './server/tunnel-server.ts'
export type * from './statistics/contract.ts'
export { TunnelStatistics } from './statistics/tunnel-statistics.ts'
export { connectServer, type ConnectParts } from './transport/index.ts'
export { adminRoutes } from './api/admin-routes.ts'
export { dashboardRoutes } from './api/dashboard-routes.ts'
export { registerFrpMetrics } from './api/frp-metrics.ts'
export { ProxyStore } from './api/proxy-store.ts'
export { WebServer } from './api/web-server.ts'
