import { isDeepStrictEqual } from 'node:util'
import { errorMessage } from '../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import {
  type TunnelClientConfig,
  type LoadedConfig,
  proxyConfigOf,
  visitorConfigOf,
} from '../../mechanisms/frp-config/index.ts'
import {
  adminRoutes,
  clientAuth,
  type ClientWork,
  connectServer,
  frpVersion,
  ProxyStore,
  TunnelClient,
  WebServer,
} from '../../services/tunnel/index.ts'
import type { TunnelParts } from './frps-service.ts'

/** The file that a client's configuration came from. */
export interface FrpcFile {
  readonly path: string
  /** @param strict whether unknown settings are errors; undefined: as at first */
  readonly load: (strict?: boolean) => Promise<LoadedConfig<TunnelClientConfig>>
  /** The API asks for the end of the program. */
  readonly onStop: () => void
}

/** What a reload puts in force. */
const reloadable: ReadonlySet<string> = new Set(['proxies', 'visitors', 'start'])

/** frpc with all that belongs to it: the client, its store, and its web server where it has one. */
export class FrpcService implements Lifecycle {
  readonly #parts: TunnelParts
  readonly #file: FrpcFile | undefined
  readonly #store: ProxyStore | undefined
  #config: TunnelClientConfig
  #client: TunnelClient | undefined
  #web: WebServer | undefined

  constructor(config: TunnelClientConfig, parts: TunnelParts, file?: FrpcFile) {
    this.#config = config
    this.#parts = parts
    this.#file = file
    if (config.store.path !== '') {
      this.#store = new ProxyStore({
        file: config.store.path,
        // As frp's store does, it passes over keys that it does not know.
        parseProxy: (entry) => proxyConfigOf(entry, { strict: false }),
        parseVisitor: (entry) => visitorConfigOf(entry, { strict: false }),
      })
    }
  }

  /** @throws TunnelError TUNNEL_LOGIN_REFUSED or TUNNEL_UNREACHABLE with `loginFailExit`, TUNNEL_BAD_OPTION */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.#client !== undefined) return
    const { datapath, logger, clock, joiner } = this.#parts
    const config = this.#config
    await this.#store?.load()
    const client = new TunnelClient({
      config: { ...config, ...this.#work() },
      auth: await clientAuth(config.auth, { clock }),
      connect: ({ signal }) => connectServer(config, { clock, logger, signal }),
      datapath,
      clock,
      logger,
      ...(joiner !== undefined && { joinEngine: joiner }),
    })
    this.#client = client
    try {
      if (config.webServer.port > 0) {
        this.#web = this.#webServer(client)
        await this.#web.start(options)
      }
      await client.start(options)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const [client, web] = [this.#client, this.#web]
    this.#client = undefined
    this.#web = undefined
    await client?.close(options)
    await web?.close()
  }

  /**
   * Reads the file again and puts its proxies and visitors in force; what is equal is left alone. A file that is wrong changes
   * nothing.
   * @throws FrpConfigError
   */
  async reload({ strict }: { readonly strict?: boolean } = {}): Promise<void> {
    const { logger } = this.#parts
    if (this.#file === undefined) return
    try {
      const { config, notes } = await this.#file.load(strict)
      for (const note of notes) logger.warn(note)
      this.apply(config)
    } catch (error) {
      logger.warn({ reason: errorMessage(error) }, 'the configuration is not reloaded')
      throw error
    }
  }

  /** Puts the proxies and visitors of another configuration in force. Gives the other keys that differ, which want a restart. */
  apply(config: TunnelClientConfig): readonly string[] {
    const before = this.#config
    const { proxies, visitors, start } = config
    this.#config = { ...before, proxies, visitors, start }
    this.#client?.update(this.#work())
    const others = (Object.keys(config) as (keyof TunnelClientConfig)[]).filter(
      (key) => !reloadable.has(key) && !isDeepStrictEqual(config[key], before[key]),
    )
    if (others.length > 0)
      this.#parts.logger.warn({ settings: others }, 'settings that differ want a restart')
    return others
  }

  /** What is to run: the configuration, and the store above it, to which `start` applies as well. */
  #work(): ClientWork {
    const { proxies, visitors } = this.#store?.over(this.#config) ?? this.#config
    const names = new Set(this.#config.start)
    const runs = ({ name }: { readonly name: string }): boolean => names.size === 0 || names.has(name)
    return { proxies: proxies.filter(runs), visitors: visitors.filter(runs) }
  }

  #webServer(control: TunnelClient): WebServer {
    const { logger: log, clock } = this.#parts
    const config = this.#config
    return new WebServer({
      config: config.webServer,
      routes: adminRoutes({
        version: frpVersion,
        control,
        work: () => this.#work(),
        serverAddr: config.serverAddr,
        configFile: this.#file?.path,
        reload: (options) => this.reload(options),
        stop: () => this.#file?.onStop(),
        store: this.#store,
        apply: () => this.#client?.update(this.#work()),
        log,
        clock,
      }),
      log,
      clock,
    })
  }
}
