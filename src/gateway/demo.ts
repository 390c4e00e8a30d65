import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../foundation/lifecycle.ts'
import type { Config } from '../mechanisms/config/index.ts'
import type { Logger } from '../mechanisms/telemetry/index.ts'
import { DemoOrigin } from '../services/demo/index.ts'
import { type HttpHandler, replyJson } from '../services/media/http/index.ts'
import { Gateway, type GatewayAddresses } from './gateway.ts'

/** The page, built; the same relative path from src/gateway and from dist/gateway. */
const PAGES = fileURLToPath(new URL('../../dist/console', import.meta.url))

/**
 * The demo: a gateway as any other, with the demo page, and an origin in the same process that the gateway knows only
 * by its registration.
 */
export class Demo implements Lifecycle {
  readonly #config: Config
  readonly #logger: Logger
  readonly #gateway: Gateway
  #origin: DemoOrigin | undefined

  constructor(config: Config, logger: Logger) {
    this.#logger = logger
    const http = {
      ...config.media.http,
      ...(existsSync(PAGES) && { pages: config.media.http.pages ?? PAGES }),
    }
    this.#config = { ...config, media: { ...config.media, http } }
    this.#gateway = new Gateway(this.#config, { logger, handlers: demoHandlers })
  }

  get addresses(): GatewayAddresses {
    return this.#gateway.addresses
  }

  async start(options: StartOptions = {}): Promise<void> {
    await this.#gateway.start(options)
    const { token } = this.#config.registration
    this.#origin = new DemoOrigin({
      log: this.#logger,
      clock: systemClock,
      registerUrl: `http://${this.#gateway.addresses.registration}/api/v1/srs/register`,
      ...(token !== undefined && { registerToken: token }),
    })
    try {
      await this.#origin.start(options)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** The gateway drains first; its sessions need the origin. */
  async close(options: CloseOptions = {}): Promise<void> {
    await this.#gateway.close(options)
    await this.#origin?.close()
  }
}

/** What the demo page asks: the live streams, and the ports for the commands that it shows. */
function demoHandlers(gateway: Gateway): readonly HttpHandler[] {
  return [
    jsonHandler('/api/v1/streams', async () =>
      (await gateway.store.streams()).map(({ key, publishers, players }) => {
        const [, ...path] = key.split('/')
        return { key, app: path.slice(0, -1).join('/'), stream: path.at(-1), publishers, players }
      }),
    ),
    jsonHandler('/api/v1/demo', async () => ({
      rtmpPort: portOf(gateway.addresses.rtmp),
      httpPort: portOf(gateway.addresses.http),
    })),
  ]
}

function jsonHandler(path: string, body: () => Promise<unknown>): HttpHandler {
  return {
    matches: (pathname, method) => pathname === path && (method === 'GET' || method === 'HEAD'),
    handle: async (_request, response) => replyJson(response, 200, await body()),
  }
}

function portOf([address]: readonly string[]): number | undefined {
  return address === undefined ? undefined : Number(address.slice(address.lastIndexOf(':') + 1))
}
