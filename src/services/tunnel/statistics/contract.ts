import type { NewProxy, WireVersion } from '../../../protocols/frp/index.ts'

/** A client that is logged in, as the API shows it. */
export interface ClientView {
  readonly runId: string
  readonly user: string
  readonly clientId: string
  readonly version: string
  readonly hostname: string
  readonly os: string
  readonly arch: string
  readonly metas: Readonly<Record<string, string>>
  readonly wireVersion: WireVersion
  readonly address: string
  readonly connectedAtMs: number
}

/** A proxy that is registered, as the API shows it. Names carry the user's prefix. */
export interface ProxyView {
  readonly name: string
  readonly type: string
  readonly user: string
  readonly clientId: string
  readonly runId: string
  /** As the client asked for it. */
  readonly request: NewProxy
  readonly remoteAddr: string
  readonly startedAtMs: number
}

/** Bytes of one connection so far; `in` is what came from the user. Read at any time while it is open. */
export interface TrafficCounter {
  readonly bytesIn: number
  readonly bytesOut: number
}

/** The traffic of one proxy. */
export interface ProxyTraffic {
  /** A user connection began; the function that is returned says that it ended. Its bytes count while they flow. */
  open(counter: TrafficCounter): () => void
  /** A datagram's payload passed. */
  addIn(bytes: number): void
  addOut(bytes: number): void
}

/** What the server tells those who keep the books. */
export interface TunnelRecorder {
  clientOnline(client: ClientView): void
  clientOffline(runId: string): void
  proxyOnline(proxy: ProxyView): ProxyTraffic
  proxyOffline(name: string): void
}

/** What an operator sees of the server and may do with it. */
export interface TunnelServerControl {
  clients(): readonly ClientView[]
  proxies(): readonly ProxyView[]
  /** Ends a client's control connection with all it has; it may come back. False: there is none. */
  kick(runId: string): boolean
  /** Closes one proxy; its client is not told (frp has no message for it) and registers it again when it returns. False: there is none. */
  closeProxy(name: string): boolean
}
