import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { createFrpLogger } from '../../gateway/frp/frp-logger.ts'
import { FrpcService } from '../../gateway/frp/frpc-service.ts'
import { TunnelProcess } from '../../gateway/frp/tunnel-process.ts'
import {
  type FrpcConfig,
  frpcCommonFlags,
  frpcConfigOf,
  frpcProxyFlags,
  frpcProxyRawOf,
  frpcVisitorFlags,
  frpcVisitorRawOf,
  type FrpFlag,
  INLINE_PROXY_TYPES,
  INLINE_VISITOR_TYPES,
  type LoadedConfig,
  loadFrpcConfig,
} from '../../mechanisms/frp-config/index.ts'
import { frpVersion, TunnelError } from '../../services/tunnel/index.ts'
import { runUntilSignal } from '../until-signal.ts'
import { addCommonOptions, type CommonOptions, graceMs, loadOptions } from './common-options.ts'
import { orFail } from './fail.ts'
import { addFlags, flagValues } from './frp-flags.ts'
import { reloadFrpc, showStatus, stopFrpc } from './frpc-admin.ts'

interface FrpcOptions extends CommonOptions {
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
  addCommonOptions(frpc).action(() => orFail(() => runFiles(frpc.opts<FrpcOptions>())))
  addFileCommands(frpc)
  addInlineCommands(frpc)
}

function addFileCommands(frpc: Command): void {
  const fileCommand = (name: string, description: string): Command =>
    frpc
      .command(name)
      .description(description)
      .option('-c, --config <file>', 'configuration of the client', './frpc.ini')
      .option('--strict-config <boolean>', 'whether settings that are not known are errors')
      .option('--api-timeout <duration>', 'how long its API may take to answer, such as 30s', '30s')

  fileCommand('verify', 'check a configuration file').action((given: FrpcOptions) =>
    orFail(async () => {
      const options = { ...frpc.opts<FrpcOptions>(), ...given }
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
    fileCommand(name, descriptions[name]).action((given: FrpcOptions) =>
      orFail(async () => {
        const options = { ...frpc.opts<FrpcOptions>(), ...given }
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

function addInlineCommands(frpc: Command): void {
  for (const type of INLINE_PROXY_TYPES) {
    const flags = [...frpcCommonFlags, ...frpcProxyFlags(type)]
    const command = addFlags(frpc.command(type).description(`run a client with one ${type} proxy`), flags)
    command.enablePositionalOptions().action(() =>
      orFail(() => {
        const raw = frpcProxyRawOf(type, flagValues(command, flags))
        return runOne(frpcConfigOf(raw, loadOptions(frpc.opts<FrpcOptions>())), frpc.opts<FrpcOptions>())
      }),
    )
    const visitorType = INLINE_VISITOR_TYPES.find((visitor) => visitor === type)
    if (visitorType === undefined) continue
    const visitorFlags = [...frpcCommonFlags, ...frpcVisitorFlags]
    const visitor = addFlags(
      command.command('visitor').description(`run a client with one ${type} visitor`),
      visitorFlags,
    )
    visitor.action(() =>
      orFail(() => {
        const raw = frpcVisitorRawOf(visitorType, flagValues(visitor, visitorFlags))
        return runOne(frpcConfigOf(raw, loadOptions(frpc.opts<FrpcOptions>())), frpc.opts<FrpcOptions>())
      }),
    )
  }
}

async function runFiles(options: FrpcOptions): Promise<void> {
  const files = options.configDir === undefined ? [options.config] : await filesIn(options.configDir)
  const loaded: { readonly file: string; readonly config: FrpcConfig }[] = []
  const notes: string[] = []
  for (const file of files) {
    const { config, notes: ofFile } = await loadFrpcConfig(file, loadOptions(options))
    loaded.push({ file, config })
    notes.push(...ofFile)
  }
  const [first] = loaded
  if (first === undefined) throw new TypeError(`no configuration file in ${options.configDir ?? ''}`)
  const logger = createFrpLogger('frpc', first.config.log)
  for (const note of notes) logger.warn(note)
  const services: FrpcService[] = []
  const service = new TunnelProcess(logger, (parts) => {
    for (const { file, config } of loaded) {
      logger.info(`start frpc service for config file [${file}]`)
      const first = loadOptions(options)
      const load = (strict = first.strict) =>
        loadFrpcConfig(file, { ...first, ...(strict !== undefined && { strict }) })
      services.push(new FrpcService(config, parts, { path: file, load, onStop: stopProcess }))
    }
    return services
  })
  await runUntilSignal(service, {
    logger,
    graceMs: graceMs(options),
    onHangUp: () => {
      for (const client of services) void client.reload().catch(() => undefined)
    },
  })
}

async function runOne({ config, notes }: LoadedConfig<FrpcConfig>, options: CommonOptions): Promise<void> {
  const logger = createFrpLogger('frpc', config.log)
  for (const note of notes) logger.warn(note)
  const service = new TunnelProcess(logger, (parts) => [new FrpcService(config, parts)])
  await runUntilSignal(service, { logger, graceMs: graceMs(options) })
}

/** Asked by the API: the same as a polite signal. */
function stopProcess(): void {
  process.kill(process.pid, 'SIGTERM')
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ name }) => join(folder, name))
}
