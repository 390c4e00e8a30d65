import { availableParallelism } from 'node:os'
import { configSourceOf, idOf } from '../gateway/stunnerd/config-origin.ts'
import type { ConfigSource } from '../gateway/stunnerd/config-source.ts'
import { StunnerdError } from '../gateway/stunnerd/errors.ts'
import { FixedSource } from '../gateway/stunnerd/fixed-source.ts'
import { readStunnerdConfig } from '../gateway/stunnerd/read-config.ts'
import { createScopedLogger } from '../gateway/stunnerd/scoped-logger.ts'
import { selfSigned } from '../gateway/stunnerd/self-signed.ts'
import { Stunnerd } from '../gateway/stunnerd/stunnerd.ts'
import { configTextOfTurnUri } from '../gateway/stunnerd/turn-uri.ts'
import { version } from '../gateway/version.ts'
import type { Logger } from '../mechanisms/telemetry/index.ts'
import { TurnServer } from '../services/turn/index.ts'
import { runUntilSignal } from './until-signal.ts'

/** The flags of STUNner's `stunnerd`, and `--grace`. */
export interface StunnerdFlags {
  readonly config?: string
  readonly watch?: boolean
  readonly log?: string
  readonly logFormat: string
  readonly id?: string
  readonly udpThreadNum: string
  readonly dryRun?: boolean
  readonly verbose?: boolean
  readonly forceReadyStatus?: boolean
  readonly grace: string
}

/** `sluice stunnerd`: a TURN server in the place of STUNner's, until SIGTERM or SIGINT. SIGHUP reads the configuration again. */
export async function stunnerd(uri: string | undefined, flags: StunnerdFlags): Promise<void> {
  const { logFormat: format } = flags
  if (format !== 'text' && format !== 'json') throw badOption('--log-format', format, 'text or json')
  const threads = wholeNumber('--udp-thread-num', flags.udpThreadNum, 1024)
  const graceMs = wholeNumber('--grace', flags.grace, 86_400) * 1000
  const logLevels = flags.log ?? (flags.verbose === true ? 'all:DEBUG' : undefined)
  const log = createScopedLogger({ format, levels: logLevels ?? 'all:INFO' })
  const logger = log.logger.child({ component: 'stunnerd' })
  const id = idOf(flags.id, process.env)
  const source = await sourceOf(uri, flags.config, id, log.logger)
  logger.info({ id, version, source: source.name }, 'starting')
  if (flags.dryRun === true) {
    await report(source, logger)
    return
  }
  const daemon = new Stunnerd({
    source,
    createServer: (options) => new TurnServer(options),
    log,
    id,
    isWatching: flags.watch === true,
    isAlwaysReady: flags.forceReadyStatus === true,
    // STUNner's threads are cheap and its default in Kubernetes is 16; ours are worth a core each.
    threads: Math.min(Math.max(1, threads), availableParallelism(), 64),
    ...(logLevels !== undefined && { logLevels }),
  })
  await runUntilSignal(daemon, { logger, graceMs, onHangUp: () => void daemon.reload() })
}

async function sourceOf(
  uri: string | undefined,
  origin: string | undefined,
  id: string,
  logger: Logger,
): Promise<ConfigSource> {
  if (uri === undefined) {
    return configSourceOf({ ...(origin !== undefined && { origin }), id, env: process.env, logger })
  }
  return new FixedSource('the URI', await configTextOfTurnUri(uri, selfSigned))
}

/** Says what the configuration is, and opens nothing. */
async function report(source: ConfigSource, logger: Logger): Promise<void> {
  const { config, notes } = readStunnerdConfig(source.name, await source.load(), process.env)
  for (const note of notes) logger.warn({ note }, 'configuration')
  const listeners = config.listeners.map(({ name, protocol, address, port, routes }) => ({
    name,
    protocol,
    address,
    port,
    routes,
  }))
  logger.info({ name: config.admin.name, listeners, clusters: config.clusters }, 'the configuration is good')
}

function wholeNumber(flag: string, text: string, most: number): number {
  if (/^\d{1,9}$/.test(text) && Number(text) <= most) return Number(text)
  throw badOption(flag, text, `a whole number from 0 to ${most}`)
}

function badOption(flag: string, value: string, allowed: string): StunnerdError {
  return new StunnerdError('STUNNERD_BAD_OPTION', `${flag} ${value}: must be ${allowed}`)
}
