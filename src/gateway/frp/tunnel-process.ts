import { systemClock } from '../../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { createDatapath, type Datapath } from '../../mechanisms/datapath/index.ts'
import { createNativeJoiner } from '../../mechanisms/streams/index.ts'
import { createRegistry, type Logger } from '../../mechanisms/telemetry/index.ts'
import { version } from '../version.ts'
import type { TunnelParts } from './frps-service.ts'

/** A process that is a tunnel server or client and nothing else: what these stand on, and they themselves upon it. */
export class TunnelProcess implements Lifecycle {
  readonly parts: TunnelParts
  readonly #datapath: Datapath
  readonly #services: readonly Lifecycle[]
  readonly #closeJoiner: () => void
  #started: Lifecycle[] = []

  constructor(logger: Logger, makeServices: (parts: TunnelParts) => readonly Lifecycle[]) {
    this.#datapath = createDatapath({
      clock: systemClock,
      onFallback: (reason) => logger.warn({ reason }, 'no native engine, everything goes through JavaScript'),
      onDeath: (error) => {
        // Nobody catches it: whoever runs the process starts it again.
        process.nextTick(() => {
          throw error
        })
      },
    })
    const joiner = createNativeJoiner()
    this.#closeJoiner = () => joiner?.close()
    const registry = createRegistry(version)
    this.parts = { datapath: this.#datapath, logger, registry, clock: systemClock, joiner }
    this.#services = makeServices(this.parts)
  }

  async start(options: StartOptions = {}): Promise<void> {
    if (this.#started.length > 0) return
    try {
      for (const service of [this.#datapath, ...this.#services]) {
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
    for (const service of started.toReversed()) await service.close(options)
    this.#closeJoiner()
  }
}
