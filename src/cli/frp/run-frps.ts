import type { Command } from 'commander'
import { errorMessage } from '../../foundation/errors.ts'
import { createFrpLogger } from '../../gateway/frp/frp-logger.ts'
import { FrpsService } from '../../gateway/frp/frps-service.ts'
import { TunnelProcess } from '../../gateway/frp/tunnel-process.ts'
import {
  type FrpsConfig,
  frpsConfigOf,
  frpsFlags,
  frpsRawOf,
  type LoadedConfig,
  loadFrpsConfig,
} from '../../mechanisms/frp-config/index.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { runUntilSignal } from '../until-signal.ts'
import { type CommonOptions, graceMs, loadOptions } from './common-options.ts'
import { flagValues } from './frp-flags.ts'

/** Runs a tunnel server as a command's flags or its file say, until a signal. SIGHUP reads the configuration again. */
export async function runFrps(command: Command): Promise<void> {
  const options = command.opts<CommonOptions>()
  const { config, notes } = await configOf(command, options)
  const logger = createFrpLogger('frps', config.log)
  for (const note of notes) logger.warn(note)
  logger.info(
    options.config === undefined
      ? 'frps uses command line arguments for config'
      : `frps uses config file: ${options.config}`,
  )
  let frps: FrpsService | undefined
  const service = new TunnelProcess(logger, (parts) => [(frps = new FrpsService(config, parts))])
  await runUntilSignal(service, {
    logger,
    graceMs: graceMs(options),
    onHangUp: () => void reload(command, options, frps, logger),
    onReady: () => logger.info('frps started successfully'),
  })
}

async function reload(
  command: Command,
  options: CommonOptions,
  frps: FrpsService | undefined,
  logger: Logger,
): Promise<void> {
  try {
    const { config } = await configOf(command, options)
    const apply = await frps?.prepareReload(config)
    apply?.()
    logger.info('success reload conf')
  } catch (error) {
    logger.warn({ reason: errorMessage(error) }, 'the configuration is not reloaded')
  }
}

async function configOf(command: Command, options: CommonOptions): Promise<LoadedConfig<FrpsConfig>> {
  if (options.config !== undefined) return loadFrpsConfig(options.config, loadOptions(options))
  return frpsConfigOf(frpsRawOf(flagValues(command, frpsFlags)), loadOptions(options))
}
