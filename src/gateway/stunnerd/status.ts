import type { TrafficCounts } from './cluster-traffic.ts'
import type { StunnerdAuth, StunnerdCluster, StunnerdConfig, StunnerdListener } from './config.ts'
import type { TrafficCount } from './turn-dataplane.ts'

export type StunnerdState = 'READY' | 'NOT-READY' | 'TERMINATING'

/** What `/status` tells of. */
export interface StatusSource {
  /** Undefined before the first. */
  readonly config: StunnerdConfig | undefined
  /** The id that stands for a name while there is no configuration. */
  readonly id: string
  readonly state: StunnerdState
  readonly allocationCount: number
  listenerCounts(name: string): TrafficCounts
  clusterCounts(name: string): TrafficCounts
}

/**
 * The answer of `/status`, in STUNner's shape. Credentials, certificates and keys are there as `<SECRET>`: whoever reaches the
 * health port would have them otherwise.
 */
export function statusJson(source: StatusSource): Record<string, unknown> {
  const { config, id, state, allocationCount } = source
  return {
    version: 'v1',
    admin: config === undefined ? { name: id, quota: '0' } : adminJson(config.admin),
    auth: config === undefined ? { type: 'none', credentials: {} } : authJson(config.auth),
    listeners: (config?.listeners ?? []).map((it) => listenerJson(it, source.listenerCounts(it.name))),
    clusters: (config?.clusters ?? []).map((it) => clusterJson(it, source.clusterCounts(it.name))),
    allocationCount,
    status: state,
  }
}

const SECRET = '<SECRET>'

function adminJson(admin: StunnerdConfig['admin']): Record<string, unknown> {
  const { offloadEngine: engine, offloadInterfaces } = admin
  const interfaces = engine === 'None' || offloadInterfaces.length === 0 ? 'all' : offloadInterfaces.join(',')
  return {
    name: admin.name,
    loglevel: admin.logLevel,
    ...(admin.metricsEndpoint !== '' && { metrics_endpoint: admin.metricsEndpoint }),
    ...(admin.healthcheckEndpoint !== '' && { healthcheck_endpoint: admin.healthcheckEndpoint }),
    quota: String(admin.userQuota),
    offload: `${engine}[${interfaces}]`,
    licensing_info: 'none needed',
  }
}

function authJson(auth: StunnerdAuth): Record<string, unknown> {
  const credentials = {
    static: { username: SECRET, password: SECRET },
    ephemeral: { secret: SECRET },
    none: {},
  }[auth.type]
  return { type: auth.type, realm: auth.realm, credentials }
}

function listenerJson(listener: StunnerdListener, counts: TrafficCounts): Record<string, unknown> {
  const { name, protocol, publicAddress, publicPort, address, port, certificate, routes } = listener
  return {
    name,
    protocol,
    ...(publicAddress !== undefined && { public_address: publicAddress }),
    ...(publicPort !== undefined && { public_port: publicPort }),
    address,
    port,
    ...(certificate !== undefined && { cert: SECRET, key: SECRET }),
    ...(routes.length > 0 && { routes }),
    stats: statsJson(counts),
  }
}

function clusterJson(cluster: StunnerdCluster, counts: TrafficCounts): Record<string, unknown> {
  const { name, type, protocol, endpoints } = cluster
  return {
    name,
    type,
    protocol,
    ...(endpoints.length > 0 && { endpoints }),
    stats: statsJson(counts),
  }
}

function statsJson({ rx, tx }: TrafficCounts): Record<string, unknown> {
  // When the last packet passed is known to STUNner's kernel offload alone.
  const of = ({ packets, bytes }: TrafficCount) => ({ pkts: packets, bytes, timestamp: 0 })
  return { rx: of(rx), tx: of(tx) }
}
