import { readFile } from 'node:fs/promises'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../../foundation/lifecycle.ts'
import { type Config, parseConfig } from '../../mechanisms/config/index.ts'
import { parseListenText } from '../../mechanisms/net/index.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { Gateway, type GatewayAddresses, type GatewayParts } from '../gateway.ts'
import { parseDotEnv } from './dot-env.ts'
import { srsProxyError } from './errors.ts'
import { ProfileServer } from './profile-server.ts'
import { readSettings, type SrsProxySettings } from './settings.ts'
import { configOfSettings, type SrsProxyFlags } from './translate.ts'

/**
 * Reads the variables of the process and those of the file.
 * @throws SRS_PROXY_UNREADABLE_ENV, SRS_PROXY_BAD_VARIABLE
 */
export async function loadSettings(
  env: Readonly<Record<string, string | undefined>>,
  file: string,
): Promise<SrsProxySettings> {
  let text = ''
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') {
      throw srsProxyError('SRS_PROXY_UNREADABLE_ENV', `${file}: ${errorMessage(error)}`, error)
    }
  }
  return readSettings(env, parseDotEnv(text))
}

/** The gateway in the place of the SRS proxy, with the profiler where one is wanted. */
export class SrsProxy implements Lifecycle {
  readonly #logger: Logger
  readonly #config: Config
  readonly #gateway: Gateway
  readonly #profileServer: ProfileServer | undefined

  /** @throws CONFIG_INVALID when a flag has a value that means nothing */
  constructor(
    settings: SrsProxySettings,
    flags: SrsProxyFlags,
    parts: Pick<GatewayParts, 'logger' | 'onDrained'>,
  ) {
    const { logger } = parts
    this.#logger = logger
    this.#config = parseConfig('srs-proxy.json', JSON.stringify(configOfSettings(settings, flags)))
    this.#gateway = new Gateway(this.#config, parts)
    this.#profileServer =
      settings.profiler === undefined ? undefined : new ProfileServer(settings.profiler, logger)
  }

  get addresses(): GatewayAddresses {
    return this.#gateway.addresses
  }

  get profilerPort(): number | undefined {
    return this.#profileServer?.port
  }

  async start(options: StartOptions = {}): Promise<void> {
    const { listen, token, allow } = this.#config.registration
    if (token === undefined && allow.length === 0 && !isLoopbackListener(listen)) {
      this.#logger.warn(
        { listen },
        'whoever reaches the registration port can register as an origin; --register-token or --register-allow bounds it',
      )
    }
    await this.#profileServer?.start(options)
    try {
      await this.#gateway.start(options)
    } catch (error) {
      await this.#profileServer?.close()
      throw error
    }
  }

  async close(options: CloseOptions = {}): Promise<void> {
    await this.#gateway.close(options)
    await this.#profileServer?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function isLoopbackListener(text: string): boolean {
  return /^127\.|^::1$/.test(parseListenText(text)?.host ?? '')
}
