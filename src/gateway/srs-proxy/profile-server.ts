import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { HttpApi } from '../../mechanisms/http-api/index.ts'
import { parseListenText } from '../../mechanisms/net/index.ts'
import { profileRoutes, Profiler } from '../../mechanisms/profiling/index.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { version } from '../version.ts'

/** The listener of `GO_PPROF`: profiles and nothing else. */
export class ProfileServer implements Lifecycle {
  readonly #profiler = new Profiler()
  readonly #api: HttpApi

  /** `listen` was checked when the settings were read. */
  constructor(listen: string, logger: Logger) {
    this.#api = new HttpApi({
      listen: parseListenText(listen) ?? { host: '127.0.0.1', port: 0 },
      log: logger.child({ component: 'profiler' }),
      serverHeader: `Sluice/${version}`,
      routes: profileRoutes(this.#profiler),
    })
  }

  /** Where it listens; undefined unless started. */
  get port(): number | undefined {
    return this.#api.address?.port
  }

  async start(options?: StartOptions): Promise<void> {
    await this.#profiler.start()
    await this.#api.start(options)
  }

  async close(options?: CloseOptions): Promise<void> {
    await this.#api.close(options)
    await this.#profiler.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
