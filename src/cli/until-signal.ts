import { systemClock } from '../foundation/clock.ts'
import { errorCode } from '../foundation/errors.ts'
import type { Lifecycle } from '../foundation/lifecycle.ts'
import type { Logger } from '../mechanisms/telemetry/index.ts'

export interface UntilSignalOptions {
  readonly logger: Logger
  /** How long running sessions may go on after the first signal, in milliseconds. */
  readonly graceMs: number
  /** The process ends with code 1 so long after the first signal, whatever still runs. @defaultValue never */
  readonly forceMs?: number
  /** Called at each SIGHUP. @defaultValue SIGHUP is passed over */
  readonly onHangUp?: () => void
  /** Resolves when the service shall end without a signal. @defaultValue never */
  readonly until?: Promise<void>
  /** Called when the service stands. */
  readonly onReady?: () => void
}

/** The end of a drain, for `until`. */
export function drainEnd(): { readonly until: Promise<void>; readonly onDrained: () => void } {
  let onDrained = (): void => {}
  const until = new Promise<void>((resolve) => {
    onDrained = resolve
  })
  return { until, onDrained }
}

/**
 * Starts a service and runs it until SIGTERM or SIGINT. The first signal drains: nothing new is accepted,
 * running sessions go on for the grace time, then they are cut and the process ends with code 0; during the start it ends that.
 * A second signal ends the process at once with code 1.
 */
export async function runUntilSignal(service: Lifecycle, options: UntilSignalOptions): Promise<void> {
  const { logger, graceMs } = options
  // Without handlers a signal would end the process, also while that starts.
  let isReady = false
  let isHungUp = false
  process.on('SIGHUP', () => {
    if (isReady) options.onHangUp?.()
    else isHungUp = true
  })
  // Node would open the inspector, through which whoever reaches its port runs code.
  process.on('SIGUSR1', () => logger.warn('SIGUSR1 is passed over: no inspector is opened'))
  const stop = new AbortController()
  const signalled = firstSignal((second) => {
    logger.warn({ signal: second }, 'cut by a second signal')
    process.exit(1)
  })
  const started = service.start({ signal: stop.signal })
  if ((await Promise.race([started, signalled])) === undefined) {
    isReady = true
    options.onReady?.()
    if (isHungUp) options.onHangUp?.()
  } else {
    // What has not started by now needs not.
    started.catch((error: unknown) => logger.debug({ code: errorCode(error) }, 'start given up'))
    stop.abort()
  }
  const drained = options.until?.then(() => 'drained' as const)
  const signal = await (drained === undefined ? signalled : Promise.race([signalled, drained]))
  logger.info({ signal, graceMs }, 'draining')
  if (options.forceMs !== undefined) {
    systemClock.after(options.forceMs, () => {
      logger.error({ forceMs: options.forceMs }, 'cut, as draining took too long')
      process.exit(1)
    })
  }
  await service.close({ graceMs })
  logger.info('stopped')
  // Nothing of ours is left; a library's stray handle must not keep the process up.
  process.exit(0)
}

/** The handlers stay: a signal that finds none would end the process as if nothing had been prepared for it. */
function firstSignal(onFurther: (signal: NodeJS.Signals) => void): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let isFirst = true
    const stop = (signal: NodeJS.Signals) => {
      if (!isFirst) onFurther(signal)
      isFirst = false
      resolve(signal)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}
