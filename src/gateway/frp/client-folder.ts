import { errorMessage } from '../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import type { FrpcService } from './frpc-service.ts'

/** One of many clients, and the file that it was made of. */
export interface FolderClient {
  readonly file: string
  readonly service: FrpcService
}

/** The clients of a folder of configurations: each for itself, all in one process. */
export class ClientFolder implements Lifecycle {
  readonly #clients: readonly FolderClient[]
  readonly #logger: Logger

  constructor(clients: readonly FolderClient[], logger: Logger) {
    this.#clients = clients
    this.#logger = logger
  }

  /** Starts all at once. @throws what the first one threw, when none could be started */
  async start(options: StartOptions = {}): Promise<void> {
    const results = await Promise.allSettled(this.#clients.map(({ service }) => service.start(options)))
    const failures = results.map((result) => (result.status === 'rejected' ? result : undefined))
    for (const [index, failure] of failures.entries()) {
      if (failure === undefined) continue
      const file = this.#clients[index]?.file
      this.#logger.error(
        { reason: errorMessage(failure.reason) },
        `frpc service error for config file [${file}]`,
      )
    }
    const [first] = failures
    if (first !== undefined && !failures.includes(undefined)) throw first.reason
  }

  /** Each reads its own file again; one that cannot is told of by itself. */
  async reload(): Promise<void> {
    await Promise.allSettled(this.#clients.map(({ service }) => service.reload()))
  }

  async close(options: CloseOptions = {}): Promise<void> {
    await Promise.all(this.#clients.map(({ service }) => service.close(options)))
  }
}
