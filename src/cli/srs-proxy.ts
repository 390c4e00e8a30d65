import { stringify } from 'smol-toml'
import { SluiceError } from '../foundation/errors.ts'
import { adminListener } from '../gateway/srs-proxy/admin-listener.ts'
import { loadSettings, SrsProxy } from '../gateway/srs-proxy/srs-proxy.ts'
import { configOfSettings, type SrsProxyFlags } from '../gateway/srs-proxy/translate.ts'
import { createLogger } from '../mechanisms/telemetry/index.ts'
import { drainEnd, runUntilSignal } from './until-signal.ts'

/** The flags of `sluice srs-proxy`. */
export interface SrsProxyOptions extends SrsProxyFlags {
  readonly log: 'error' | 'warn' | 'info' | 'debug'
  readonly printConfig?: boolean
}

/** The exit code of the SRS proxy when it cannot start, whatever the reason. */
const CANNOT_START = 255

/** `sluice srs-proxy`: the gateway in the place of the SRS proxy, set up by its variables, until SIGTERM or SIGINT. */
export async function srsProxy(options: SrsProxyOptions): Promise<void> {
  try {
    const settings = await loadSettings(process.env, '.env')
    if (options.printConfig === true) {
      process.stdout.write(`${stringify(configOfSettings(settings, options))}\n`)
      return
    }
    const logger = createLogger({ level: options.log })
    const { until, onDrained } = drainEnd()
    const flags = { ...options, admin: options.admin ?? (await adminListener(logger)) }
    const proxy = new SrsProxy(settings, flags, { logger, onDrained })
    await runUntilSignal(proxy, { logger, until, graceMs: settings.graceMs, forceMs: settings.forceMs })
  } catch (error) {
    process.stderr.write(
      error instanceof SluiceError
        ? `sluice: ${error.code}: ${error.message}\n`
        : `sluice: ${error instanceof Error ? error.stack : String(error)}\n`,
    )
    process.exitCode = CANNOT_START
  }
}
