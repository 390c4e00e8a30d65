import { errorCode, errorMessage } from '../foundation/errors.ts'
import { Gateway } from '../gateway/gateway.ts'
import { defaultConfig } from '../mechanisms/config/index.ts'
import { createLogger, type Logger } from '../mechanisms/telemetry/index.ts'
import { configOf } from './config-file.ts'
import { drainEnd, runUntilSignal } from './until-signal.ts'

/** `sluice run`: the gateway, until SIGTERM or SIGINT. */
export async function run(options: { readonly config?: string }): Promise<void> {
  const config = (await configOf(options.config)) ?? defaultConfig()
  const logger = createLogger({ level: config.log.level })
  const { until, onDrained } = drainEnd()
  const gateway = new Gateway(config, { logger, onDrained })
  await runUntilSignal(gateway, {
    logger,
    until,
    onHangUp: () => void reload(gateway, options.config, logger),
    graceMs: config.shutdown.graceSeconds * 1000,
  })
}

/** Reads the file again. A bad one changes nothing. */
async function reload(gateway: Gateway, file: string | undefined, logger: Logger): Promise<void> {
  try {
    const needRestart = await gateway.reload((await configOf(file)) ?? defaultConfig())
    logger.info('configuration read again')
    if (needRestart.length > 0)
      logger.warn({ sections: needRestart }, 'changes of these sections need a restart')
  } catch (error) {
    logger.error(
      { code: errorCode(error), reason: errorMessage(error) },
      'configuration not taken, the old one holds',
    )
  }
}
