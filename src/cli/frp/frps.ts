import type { Command } from 'commander'
import { frpsFlags, loadFrpsConfig } from '../../mechanisms/frp-config/index.ts'
import { frpVersion } from '../../services/tunnel/frp-version.ts'
import { addCommonOptions, type CommonOptions, loadOptions } from './common-options.ts'
import { orFail } from './fail.ts'
import { addFlags } from './frp-flags.ts'

/** Adds `sluice frps`, with frps's own flags (reference §25). */
export function addFrps(program: Command): void {
  const frps = program
    .command('frps')
    .description("run a tunnel server in the place of frp's frps")
    .version(frpVersion, '-v, --version', 'the version of frp that it stands for')
    .option('-c, --config <file>', 'configuration of frps in TOML, YAML, JSON or INI')
  addFlags(addCommonOptions(frps), frpsFlags)
  frps.action(() =>
    orFail(async () => {
      const { runFrps } = await import('./run-frps.ts')
      await runFrps(frps)
    }),
  )

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
