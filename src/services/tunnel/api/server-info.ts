import type { TunnelServerConfig, PortRange } from '../../../mechanisms/frp-config/index.ts'
import type { TunnelStatistics } from '../statistics/tunnel-statistics.ts'
import { sortedByKey, withoutEmpty } from './frp-json.ts'

type Json = Readonly<Record<string, unknown>>

/** What the server is, as both versions of frps's API show it. */
export interface ServerInfo {
  readonly config: Json
  readonly allowPortsStr: string
  readonly tlsForce: boolean
  readonly status: Json
}

export function serverInfo(
  config: TunnelServerConfig,
  statistics: Pick<TunnelStatistics, 'server'>,
): ServerInfo {
  const { todayIn, todayOut, connections, clients, proxiesByType } = statistics.server()
  return {
    config: {
      bindPort: config.bindPort,
      vhostHTTPPort: config.vhostHTTPPort,
      vhostHTTPSPort: config.vhostHTTPSPort,
      tcpmuxHTTPConnectPort: config.tcpmuxHTTPConnectPort,
      kcpBindPort: 0,
      quicBindPort: 0,
      subdomainHost: config.subDomainHost,
      maxPoolCount: config.transport.maxPoolCount,
      maxPortsPerClient: config.maxPortsPerClient,
      heartbeatTimeout: config.transport.heartbeatTimeout,
    },
    allowPortsStr: config.allowPorts.map(portRangeText).join(','),
    tlsForce: config.transport.tls.force,
    // frp calls them totals; they are today's.
    status: {
      totalTrafficIn: todayIn,
      totalTrafficOut: todayOut,
      curConns: connections,
      clientCounts: clients,
      proxyTypeCount: sortedByKey(proxiesByType),
    },
  }
}

/** As v1 has it: flat, without what is empty. */
export function flatServerInfo(
  version: string,
  { config, allowPortsStr, tlsForce, status }: ServerInfo,
): Json {
  return { version, ...config, ...withoutEmpty({ allowPortsStr, tlsForce }), ...status }
}

function portRangeText({ from, to }: PortRange): string {
  return from === to ? `${from}` : `${from}-${to}`
}
