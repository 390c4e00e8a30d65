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
import { frpVersion } from '../../services/tunnel/index.ts'
import { runUntilSignal } from '../until-signal.ts'
import { addCommonOptions, type CommonOptions, graceMs, loadOptions } from './common-options.ts'
import { orFail } from './fail.ts'
import { addFlags, flagValues } from './frp-flags.ts'

/** Adds `sluice frps`, with frps's own flags (reference §25). */
export function addFrps(program: Command): void {
  const frps = program
    .command('frps')
    .description("run a tunnel server in the place of frp's frps")
    .version(frpVersion, '-v, --version', 'the version of frp that it stands for')
    .option('-c, --config <file>', 'configuration of frps in TOML, YAML, JSON or INI')
  addFlags(addCommonOptions(frps), frpsFlags)
  frps.action(() => orFail(() => run(frps)))

  frps
    .command('verify')
    .description('check a configuration file')
    .action(() =>
      orFail(async () => {
        const options = frps.opts<CommonOptions>()
        if (options.config === undefined) throw new TypeError('frps: the configuration file is not specified')
        const { notes } = await loadFrpsConfig(options.config, loadOptions(options))
        for (const note of notes) process.stdout.write(`WARNING: ${note}\n`)
        process.stdout.write(`frps: the configuration file ${options.config} syntax is ok\n`)
      }),
    )
}

async function run(command: Command): Promise<void> {
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
