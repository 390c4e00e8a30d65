import { Counter, Gauge, Histogram, type Registry } from '../telemetry/index.ts'

/** How a command ended, as a label. */
export type CommandResult = 'ok' | 'refused' | 'slow' | 'away' | 'dropped'

/** The metrics of the connection to Redis. */
export class RedisMetrics {
  reconnects = 0
  readonly #commands: Counter<'command' | 'result'> | undefined
  readonly #seconds: Histogram | undefined

  /** `isUp` and `inFlight` are read at each scrape. Without a registry nothing is counted but reconnects. */
  constructor(registry: Registry | undefined, isUp: () => boolean, inFlight: () => number) {
    if (registry === undefined) return
    const registers = [registry]
    void new Gauge({
      name: 'sluice_redis_up',
      help: 'Whether Redis answers commands.',
      registers,
      collect() {
        this.set(isUp() ? 1 : 0)
      },
    })
    void new Gauge({
      name: 'sluice_redis_in_flight',
      help: 'Commands whose answers have not come.',
      registers,
      collect() {
        this.set(inFlight())
      },
    })
    const readReconnects = (): number => this.reconnects
    void new Counter({
      name: 'sluice_redis_connects_total',
      help: 'Attempts to connect to a server of Redis.',
      registers,
      collect() {
        this.reset()
        this.inc(readReconnects())
      },
    })
    this.#commands = new Counter({
      name: 'sluice_redis_commands_total',
      help: 'Commands by name and result: `ok`; `refused`, an answer that is an error; `slow`, no answer in time; `away`, not sent; `dropped`, not sent because too many wait.',
      labelNames: ['command', 'result'],
      registers,
    })
    this.#seconds = new Histogram({
      name: 'sluice_redis_command_seconds',
      help: 'Time to the answer of a command.',
      buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
      registers,
    })
  }

  ended(command: string, result: CommandResult, ms: number): void {
    this.#commands?.inc({ command, result })
    if (result === 'ok' || result === 'refused' || result === 'slow') this.#seconds?.observe(ms / 1000)
  }
}
