import { isDeepStrictEqual } from 'node:util'
import type { CloseOptions, Lifecycle, StartOptions } from '../foundation/lifecycle.ts'
import type { TunnelConfig } from '../mechanisms/config/index.ts'
import { createNativeJoiner } from '../mechanisms/streams/index.ts'
import { FrpcService } from './frp/frpc-service.ts'
import { FrpsService, type TunnelParts } from './frp/frps-service.ts'

/** The tunnel role of the gateway: the `[tunnel]` section in, a running server, client or both out. */
export class TunnelRole implements Lifecycle {
  readonly #parts: Omit<TunnelParts, 'joiner'>
  #config: TunnelConfig
  #joiner: ReturnType<typeof createNativeJoiner>
  #server: FrpsService | undefined
  #client: FrpcService | undefined
  #started: Lifecycle[] = []
  #isStarted = false

  constructor(config: TunnelConfig, parts: Omit<TunnelParts, 'joiner'>) {
    this.#config = config
    this.#parts = parts
  }

  /** Whether there is a server or a client. */
  get isServed(): boolean {
    return this.#isStarted
  }

  /** Tunnel clients that are logged in. */
  get clientCount(): number {
    return this.#server?.clientCount ?? 0
  }

  /** Port that tunnel clients connect to; undefined without a server. */
  get port(): number | undefined {
    return this.#server?.port
  }

  /** @throws what the server and the client throw that cannot be had as configured */
  async start(options: StartOptions = {}): Promise<void> {
    const { server, client } = this.#config
    if (this.#isStarted || (server === undefined && client === undefined)) return
    this.#isStarted = true
    this.#joiner = createNativeJoiner()
    const parts = { ...this.#parts, joiner: this.#joiner }
    if (server !== undefined) {
      const logger = parts.logger.child({ component: 'tunnel-server' })
      this.#server = new FrpsService(server, { ...parts, logger })
    }
    if (client !== undefined) {
      const logger = parts.logger.child({ component: 'tunnel-client' })
      this.#client = new FrpcService(client, { ...parts, logger })
    }
    try {
      for (const service of [this.#server, this.#client]) {
        if (service === undefined) continue
        this.#started.push(service)
        await service.start(options)
      }
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const started = this.#started
    this.#started = []
    this.#isStarted = false
    for (const service of started.toReversed()) await service.close(options)
    this.#joiner?.close()
    this.#joiner = undefined
    this.#server = undefined
    this.#client = undefined
  }

  /**
   * Readies another section. What it gives puts that in force, as far as is possible while the gateway runs, and gives the
   * settings that differ and want a restart.
   * @throws what is wrong with it
   */
  async prepareReload(config: TunnelConfig): Promise<() => readonly string[]> {
    const [server, client, before] = [this.#server, this.#client, this.#config]
    const isChanged = (side: 'server' | 'client'): boolean => !isDeepStrictEqual(config[side], before[side])
    const applyServer =
      server !== undefined && config.server !== undefined && isChanged('server')
        ? await server.prepareReload(config.server)
        : () => []
    return () => {
      this.#config = config
      const restarts: string[] = []
      for (const side of ['server', 'client'] as const) {
        if ((before[side] === undefined) !== (config[side] === undefined)) restarts.push(`tunnel.${side}`)
      }
      restarts.push(...applyServer().map((key) => `tunnel.server.${key}`))
      if (client !== undefined && config.client !== undefined && isChanged('client')) {
        restarts.push(...client.apply(config.client).map((key) => `tunnel.client.${key}`))
      }
      return restarts
    }
  }
}
