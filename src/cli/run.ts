import { Gateway } from '../gateway/gateway.ts'
import { defaultConfig } from '../mechanisms/config/index.ts'
import { createLogger } from '../mechanisms/telemetry/index.ts'
import { configOf } from './config-file.ts'
import { runUntilSignal } from './until-signal.ts'

/** `sluice run`: the gateway, until SIGTERM or SIGINT. */
export async function run(options: { readonly config?: string }): Promise<void> {
  const config = (await configOf(options.config)) ?? defaultConfig()
  const logger = createLogger({ level: config.log.level })
  await runUntilSignal(new Gateway(config, { logger }), {
    logger,
    graceMs: config.shutdown.graceSeconds * 1000,
  })
}
