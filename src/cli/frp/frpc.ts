import type { Command } from 'commander'
import {
  type FlagValues,
  frpcCommonFlags,
  frpcConfigOf,
  frpcProxyFlags,
  frpcProxyRawOf,
  frpcVisitorFlags,
  frpcVisitorRawOf,
  type FrpFlag,
  INLINE_PROXY_TYPES,
  INLINE_VISITOR_TYPES,
  loadFrpcConfig,
} from '../../mechanisms/frp-config/index.ts'
import { TunnelError } from '../../services/tunnel/errors.ts'
import { frpVersion } from '../../services/tunnel/frp-version.ts'
import { addCommonOptions, type CommonOptions, loadOptions, optionsOf } from './common-options.ts'
import { orFail } from './fail.ts'
import { addFlags, flagValues } from './frp-flags.ts'
import { reloadFrpc, showStatus, stopFrpc } from './frpc-admin.ts'

/** Options of the commands that take a file. */
export interface FrpcOptions extends CommonOptions {
  readonly config: string
  readonly configDir?: string
  readonly apiTimeout: string
}

/** Every flag of every command of frpc. */
export const allFrpcFlags: readonly FrpFlag[] = [
  ...frpcCommonFlags,
  ...INLINE_PROXY_TYPES.flatMap((type) => frpcProxyFlags(type)),
  ...frpcVisitorFlags,
]

/** Adds `sluice frpc`, with frpc's own commands and flags (reference §25). */
export function addFrpc(program: Command): void {
  const frpc = program
    .command('frpc')
    .description("run a tunnel client in the place of frp's frpc")
    .version(frpVersion, '-v, --version', 'the version of frp that it stands for')
    .option('-c, --config <file>', 'configuration of frpc in TOML, YAML, JSON or INI', './frpc.ini')
    .option('--config-dir <folder>', 'run a client for each file in a folder')
    .enablePositionalOptions()
  addCommonOptions(frpc).action(() =>
    orFail(async () => {
      const { runFiles } = await import('./run-frpc.ts')
      await runFiles(frpc.opts<FrpcOptions>())
    }),
  )
  addFileCommands(frpc)
  addInlineCommands(frpc)
}

function addFileCommands(frpc: Command): void {
  const fileCommand = (name: string, description: string): Command =>
    addCommonOptions(frpc.command(name))
      .description(description)
      .option('-c, --config <file>', 'configuration of the client', './frpc.ini')
      .option('--api-timeout <duration>', 'how long its API may take to answer, such as 30s', '30s')

  const verify = fileCommand('verify', 'check a configuration file').action(() =>
    orFail(async () => {
      const options = fileOptions(verify)
      const { notes } = await loadFrpcConfig(options.config, loadOptions(options))
      for (const note of notes) process.stdout.write(`WARNING: ${note}\n`)
      process.stdout.write(`frpc: the configuration file ${options.config} syntax is ok\n`)
    }),
  )
  const admin = { reload: reloadFrpc, status: showStatus, stop: stopFrpc }
  const descriptions = {
    reload: 'make a running client read its configuration again',
    status: 'show the proxies of a running client',
    stop: 'stop a running client',
  }
  for (const name of ['reload', 'status', 'stop'] as const) {
    const command = fileCommand(name, descriptions[name]).action(() =>
      orFail(async () => {
        const options = fileOptions(command)
        const { config } = await loadFrpcConfig(options.config, loadOptions(options))
        await admin[name](config, options)
      }),
    )
  }
  frpc
    .command('nathole')
    .description('not supported: hole punching (xtcp)')
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() =>
      orFail(async () => {
        throw new TunnelError('TUNNEL_UNSUPPORTED', 'nathole is not supported: this program has no xtcp', {
          side: 'self',
        })
      }),
    )
}

/** Commander has given every option its default. */
function fileOptions(command: Command): FrpcOptions {
  return optionsOf(command) as unknown as FrpcOptions
}

function addInlineCommands(frpc: Command): void {
  for (const type of INLINE_PROXY_TYPES) {
    const flags = [...frpcCommonFlags, ...frpcProxyFlags(type)]
    const command = addInline(frpc, type, `run a client with one ${type} proxy`, flags, (values) =>
      frpcProxyRawOf(type, values),
    )
    const visitorType = INLINE_VISITOR_TYPES.find((visitor) => visitor === type)
    if (visitorType === undefined) continue
    const visitorFlags = [...frpcCommonFlags, ...frpcVisitorFlags]
    addInline(command, 'visitor', `run a client with one ${type} visitor`, visitorFlags, (values) =>
      frpcVisitorRawOf(visitorType, values),
    )
  }
}

function addInline(
  parent: Command,
  name: string,
  description: string,
  flags: readonly FrpFlag[],
  rawOf: (values: FlagValues) => unknown,
): Command {
  const command = addFlags(addCommonOptions(parent.command(name)).description(description), flags)
  return command.enablePositionalOptions().action(() =>
    orFail(async () => {
      const options = optionsOf(command)
      const { runOne } = await import('./run-frpc.ts')
      await runOne(frpcConfigOf(rawOf(flagValues(command, flags)), loadOptions(options)), options)
    }),
  )
}
