import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { errorMessage } from '../../foundation/errors.ts'
import { ClientFolder } from '../../gateway/frp/client-folder.ts'
import { createFrpLogger } from '../../gateway/frp/frp-logger.ts'
import { FrpcService } from '../../gateway/frp/frpc-service.ts'
import type { TunnelParts } from '../../gateway/frp/frps-service.ts'
import { TunnelProcess } from '../../gateway/frp/tunnel-process.ts'
import {
  type FlagValues,
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
import { addCommonOptions, type CommonOptions, graceMs, loadOptions, optionsOf } from './common-options.ts'
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
    orFail(() => {
      const options = optionsOf(command)
      return runOne(frpcConfigOf(rawOf(flagValues(command, flags)), loadOptions(options)), options)
    }),
  )
}

async function runFiles(options: FrpcOptions): Promise<void> {
  if (options.configDir !== undefined) {
    await runFolder(options.configDir, options)
    return
  }
  const loaded = await loadFrpcConfig(options.config, loadOptions(options))
  const logger = createFrpLogger('frpc', loaded.config.log)
  for (const note of loaded.notes) logger.warn(note)
  let service: FrpcService | undefined
  await runUntilSignal(
    new TunnelProcess(logger, (parts) => {
      service = serviceOf(options.config, loaded.config, parts, options)
      return [service]
    }),
    { logger, graceMs: graceMs(options), onHangUp: () => void service?.reload().catch(() => undefined) },
  )
}

/** A client for each file; one that fails is told of and does not keep the others from running. */
async function runFolder(folder: string, options: FrpcOptions): Promise<void> {
  const loaded: { readonly file: string; readonly config: FrpcConfig; readonly notes: readonly string[] }[] =
    []
  for (const file of await filesIn(folder)) {
    try {
      loaded.push({ file, ...(await loadFrpcConfig(file, loadOptions(options))) })
    } catch (error) {
      process.stdout.write(`frpc service error for config file [${file}]\n${errorMessage(error)}\n`)
    }
  }
  const [first] = loaded
  if (first === undefined) throw new TypeError(`no configuration in ${folder}`)
  const logger = createFrpLogger('frpc', first.config.log)
  for (const note of loaded.flatMap(({ notes }) => notes)) logger.warn(note)
  let clients: ClientFolder | undefined
  await runUntilSignal(
    new TunnelProcess(logger, (parts) => {
      const services = loaded.map(({ file, config }) => ({
        file,
        service: serviceOf(file, config, parts, options),
      }))
      clients = new ClientFolder(services, logger)
      return [clients]
    }),
    { logger, graceMs: graceMs(options), onHangUp: () => void clients?.reload() },
  )
}

function serviceOf(file: string, config: FrpcConfig, parts: TunnelParts, options: FrpcOptions): FrpcService {
  parts.logger.info(`start frpc service for config file [${file}]`)
  const first = loadOptions(options)
  const load = (strict = first.strict): Promise<LoadedConfig<FrpcConfig>> =>
    loadFrpcConfig(file, { ...first, ...(strict !== undefined && { strict }) })
  return new FrpcService(config, parts, { path: file, load, onStop: stopProcess })
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
