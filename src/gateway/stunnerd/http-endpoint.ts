import type { AddressInfo } from 'node:net'
import { type ApiRoute, HttpApi } from '../../mechanisms/http-api/index.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { parseHttpEndpoint } from './http-endpoint-text.ts'

export interface HttpEndpointOptions {
  readonly defaultPort: number
  readonly log: Logger
  /** What `Server` says. */
  readonly serverHeader: string
  /** What is served, given the path of the URL. */
  readonly routes: (path: string) => readonly ApiRoute[]
}

/** An HTTP endpoint whose URL can change while it runs. */
export class HttpEndpoint {
  readonly #options: HttpEndpointOptions
  #url = ''
  #api: HttpApi | undefined

  constructor(options: HttpEndpointOptions) {
    this.#options = options
  }

  /** Where it listens; undefined while it is off. */
  get address(): AddressInfo | undefined {
    return this.#api?.address
  }

  /** Its URL as configured; empty while it is off. */
  get url(): string {
    return this.#url
  }

  /**
   * Serves at another URL, or with an empty text no longer. The old place is closed first, since the new one may be part of
   * it.
   *
   * @throws NET_PORT_TAKEN and what else `listenTcp` throws; it is off then
   */
  async moveTo(url: string): Promise<void> {
    if (url === this.#url) return
    await this.close()
    const { defaultPort, log, serverHeader, routes } = this.#options
    const place = parseHttpEndpoint(url, defaultPort)
    if (place === undefined) return
    const api = new HttpApi({ listen: place.listen, log, serverHeader, routes: routes(place.path) })
    await api.start()
    this.#api = api
    this.#url = url
  }

  async close(): Promise<void> {
    await this.#api?.close()
    this.#api = undefined
    this.#url = ''
  }
}
