import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorMessage } from '../../foundation/errors.ts'
import { ClientFolder } from '../../gateway/frp/client-folder.ts'
import { createFrpLogger } from '../../gateway/frp/frp-logger.ts'
import { FrpcService } from '../../gateway/frp/frpc-service.ts'
import type { TunnelParts } from '../../gateway/frp/frps-service.ts'
import { TunnelProcess } from '../../gateway/frp/tunnel-process.ts'
import { type FrpcConfig, type LoadedConfig, loadFrpcConfig } from '../../mechanisms/frp-config/index.ts'
import { runUntilSignal } from '../until-signal.ts'
import { type CommonOptions, graceMs, loadOptions } from './common-options.ts'

/** Which files are run. */
export interface FileOptions extends CommonOptions {
  readonly config: string
  readonly configDir?: string
}

/** Runs a client for a configuration file, or for each of a folder, until a signal. SIGHUP reads them again. */
export async function runFiles(options: FileOptions): Promise<void> {
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
async function runFolder(folder: string, options: FileOptions): Promise<void> {
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

function serviceOf(file: string, config: FrpcConfig, parts: TunnelParts, options: FileOptions): FrpcService {
  parts.logger.info(`start frpc service for config file [${file}]`)
  const first = loadOptions(options)
  const load = (strict = first.strict): Promise<LoadedConfig<FrpcConfig>> =>
    loadFrpcConfig(file, { ...first, ...(strict !== undefined && { strict }) })
  return new FrpcService(config, parts, { path: file, load, onStop: stopProcess })
}

/** Runs a client of which everything is known already. */
export async function runOne(
  { config, notes }: LoadedConfig<FrpcConfig>,
  options: CommonOptions,
): Promise<void> {
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
