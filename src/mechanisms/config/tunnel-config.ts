import type { TunnelClientConfig, TunnelServerConfig } from '../frp-config/index.ts'

/** The `[tunnel]` section: a server, a client, both or none. */
export interface TunnelConfig {
  readonly server: TunnelServerConfig | undefined
  readonly client: TunnelClientConfig | undefined
}
