import type { Socket } from 'node:net'
import type { Clock } from '../../../foundation/clock.ts'
import {
  type CloseOptions,
  type Lifecycle,
  LifecycleStack,
  type StartOptions,
} from '../../../foundation/lifecycle.ts'
import type { TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import { hostOf, type ListenAddress } from '../../../mechanisms/net/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { HttpsVhost, HttpVhost, TcpmuxVhost } from '../vhost/index.ts'
import type { ProxyPlaces } from './open-proxy.ts'

/** The virtual hosts that a configuration asks for. */
export class Vhosts implements Lifecycle {
  readonly http: HttpVhost | undefined
  readonly https: HttpsVhost | undefined
  readonly tcpmux: TcpmuxVhost | undefined
  readonly #stack = new LifecycleStack()
  readonly #sharesHttp: boolean
  readonly #sharesHttps: boolean

  constructor(
    config: TunnelServerConfig,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  ) {
    const { vhostHTTPPort, vhostHTTPSPort, tcpmuxHTTPConnectPort } = config
    const { maxConnections } = config.limits
    const common = {
      clock,
      logger,
      maxConnections,
      maxConnectionsPerAddress: maxConnections,
      proxyProtocolFrom: config.transport.proxyProtocolFrom,
    }
    const isShared = (port: number): boolean =>
      port === config.bindPort && config.bindAddr === config.proxyBindAddr
    const listen = (port: number): { readonly listen?: ListenAddress } =>
      isShared(port) ? {} : { listen: { ...hostOf(config.proxyBindAddr), port } }
    this.#sharesHttp = isShared(vhostHTTPPort)
    this.#sharesHttps = isShared(vhostHTTPSPort)
    if (vhostHTTPPort > 0) {
      this.http = this.#stack.add(
        new HttpVhost({
          ...common,
          ...listen(vhostHTTPPort),
          responseHeaderTimeoutMs: config.vhostHTTPTimeout * 1000,
          custom404Page: config.custom404Page,
        }),
      )
    }
    if (vhostHTTPSPort > 0)
      this.https = this.#stack.add(new HttpsVhost({ ...common, ...listen(vhostHTTPSPort) }))
    if (tcpmuxHTTPConnectPort > 0) {
      this.tcpmux = this.#stack.add(
        new TcpmuxVhost({
          ...common,
          listen: { ...hostOf(config.proxyBindAddr), port: tcpmuxHTTPConnectPort },
          passthrough: config.tcpmuxPassthrough,
          custom404Page: config.custom404Page,
        }),
      )
    }
  }

  /** Where proxies put their routes. */
  get registries(): Pick<ProxyPlaces, 'http' | 'https' | 'tcpmux'> {
    return { http: this.http, https: this.https, tcpmux: this.tcpmux }
  }

  /** Takes what comes to the server's own port and is meant for a vhost that shares it. */
  get sharing(): { readonly onHttp?: (socket: Socket) => void; readonly onHttps?: (socket: Socket) => void } {
    return {
      ...(this.#sharesHttp && { onHttp: (socket) => this.http?.adopt(socket) }),
      ...(this.#sharesHttps && { onHttps: (socket) => this.https?.adopt(socket) }),
    }
  }

  start(options: StartOptions = {}): Promise<void> {
    return this.#stack.start(options)
  }

  close(options: CloseOptions = {}): Promise<void> {
    return this.#stack.close(options)
  }
}
