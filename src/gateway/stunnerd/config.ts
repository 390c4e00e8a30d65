import type { ClientTransport } from '../../services/turn/index.ts'

/** `STUNNER_ADDR` and its like, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The listener protocols as STUNner spells them; the short names mean the same. */
export const LISTENER_PROTOCOLS: Readonly<Record<ListenerProtocol, ClientTransport>> = {
  UDP: 'udp',
  TCP: 'tcp',
  TLS: 'tls',
  DTLS: 'dtls',
  'TURN-UDP': 'udp',
  'TURN-TCP': 'tcp',
  'TURN-TLS': 'tls',
  'TURN-DTLS': 'dtls',
}

export type ListenerProtocol =
  | 'UDP'
  | 'TCP'
  | 'TLS'
  | 'DTLS'
  | 'TURN-UDP'
  | 'TURN-TCP'
  | 'TURN-TLS'
  | 'TURN-DTLS'

/** A `stunnerd` configuration that has been checked: every default is filled in, aliases are resolved. */
export interface StunnerdConfig {
  readonly admin: {
    /** Who this is to the control plane, normally `<namespace>/<gateway>`. */
    readonly name: string
    /** `scope:LEVEL` and so on, as written. */
    readonly logLevel: string
    /** `http://address:port/path`; empty: none. */
    readonly metricsEndpoint: string
    /** `http://address:port`; empty: none. */
    readonly healthcheckEndpoint: string
    /** Allocations of one user on all listeners together; 0: no limit. */
    readonly userQuota: number
    readonly offloadEngine: OffloadEngine
    readonly offloadInterfaces: readonly string[]
    readonly hasLicense: boolean
  }
  readonly auth: StunnerdAuth
  readonly listeners: readonly StunnerdListener[]
  readonly clusters: readonly StunnerdCluster[]
}

export type OffloadEngine = 'None' | 'XDP' | 'TC' | 'Auto'

export type StunnerdAuth = { readonly realm: string } & (
  | { readonly type: 'static'; readonly username: string; readonly password: string }
  | { readonly type: 'ephemeral'; readonly secret: string }
  | { readonly type: 'none' }
)

export interface StunnerdListener {
  readonly name: string
  readonly protocol: ListenerProtocol
  /** What clients are told as relay address: a literal one. */
  readonly address: string
  readonly port: number
  /** Where clients find it from outside. For whoever reads the status; the relay does not use it. */
  readonly publicAddress?: string
  readonly publicPort?: number
  /** PEM; always there when the protocol is TLS or DTLS. */
  readonly certificate?: { readonly cert: string; readonly key: string }
  /** Names of clusters, sorted. None: no peer can be reached. */
  readonly routes: readonly string[]
  /** Ports of relayed addresses. Of `v1alpha1`. */
  readonly relayPorts?: { readonly from: number; readonly to: number }
}

export interface StunnerdCluster {
  readonly name: string
  readonly type: 'STATIC' | 'STRICT_DNS'
  readonly protocol: 'udp' | 'tcp'
  /** As written, sorted. */
  readonly endpoints: readonly string[]
}

export const DEFAULT_NAME = 'default-stunnerd'
export const DEFAULT_LOG_LEVEL = 'all:INFO'
export const DEFAULT_HEALTHCHECK_ENDPOINT = 'http://:8086'
export const DEFAULT_HEALTHCHECK_PORT = 8086
export const DEFAULT_METRICS_PORT = 8080
export const DEFAULT_REALM = 'stunner.l7mp.io'
export const DEFAULT_TURN_PORT = 3478
/** Stands in a configuration for the address of the node on which a pod runs. */
export const NODE_ADDRESS_PLACEHOLDER = '__node_address_placeholder'
