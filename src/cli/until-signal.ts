import type { Lifecycle } from '../foundation/lifecycle.ts'
import type { Logger } from '../mechanisms/telemetry/index.ts'

export interface UntilSignalOptions {
  readonly logger: Logger
  /** How long running sessions may go on after the first signal, in milliseconds. */
  readonly graceMs: number
  /** Called when the service stands. */
  readonly onReady?: () => void
}

/**
 * Starts a service and runs it until SIGTERM or SIGINT. The first signal drains: nothing new is accepted,
 * running sessions go on for the grace time, then they are cut and the process ends with code 0. A second
 * signal ends the process at once with code 1.
 */
export async function runUntilSignal(service: Lifecycle, options: UntilSignalOptions): Promise<void> {
  const { logger, graceMs } = options
  await service.start()
  options.onReady?.()
  const signal = await firstSignal()
  logger.info({ signal, graceMs }, 'draining')
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => {
      logger.warn({ signal: name }, 'cut by a second signal')
      process.exit(1)
    })
  }
  await service.close({ graceMs })
  logger.info('stopped')
  // Nothing of ours is left; a library's stray handle must not keep the process up.
  process.exit(0)
}

function firstSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const stop = (signal: NodeJS.Signals) => {
      process.off('SIGTERM', stop)
      process.off('SIGINT', stop)
      resolve(signal)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}
