/**
 * The client of the tunnel, frpc: one login to a server, the proxies that lead its users to local services, and the visitors
 * that lead local users to other clients' services.
 */
export type { ClientWork, ProxyPhase, ProxyStatus, TunnelClientControl } from './contract.ts'
export type { DialLocal, LocalService } from './local-dialer.ts'
export { TunnelClient, type TunnelClientOptions } from './tunnel-client.ts'
