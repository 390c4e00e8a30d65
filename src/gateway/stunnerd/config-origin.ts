import { hostname } from 'node:os'
import type { Clock } from '../../foundation/clock.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { CdsClient } from './cds-client.ts'
import type { Environment } from './config.ts'
import type { ConfigSource } from './config-source.ts'
import { StunnerdError } from './errors.ts'
import { FileSource } from './file-source.ts'

/** Where the control plane is asked when nothing else is said. */
const DEFAULT_ORIGIN = ':13478'

export interface ConfigOriginOptions {
  /** `--config`. @defaultValue `STUNNER_CONFIG_ORIGIN`, else the config discovery server on this machine */
  readonly origin?: string
  /** `<namespace>/<name>`. */
  readonly id: string
  readonly env: Environment
  readonly logger: Logger
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

/**
 * Finds out what an origin is: `http(s)://` and `ws(s)://` and `host:port` are config discovery servers, `file://` and
 * everything else a file.
 *
 * @throws STUNNERD_BAD_ORIGIN, STUNNERD_BAD_OPTION
 */
export function configSourceOf(options: ConfigOriginOptions): ConfigSource {
  const { env, id, logger, clock } = options
  const shared = { logger, ...(clock !== undefined && { clock }) }
  const origin = options.origin || env['STUNNER_CONFIG_ORIGIN'] || DEFAULT_ORIGIN
  if (origin === 'k8s') {
    throw new StunnerdError(
      'STUNNERD_BAD_ORIGIN',
      'the config discovery server cannot be looked up in Kubernetes: give its URL with --config or STUNNER_CONFIG_ORIGIN, such as http://stunner-config-discovery.stunner-system:13478',
    )
  }
  const url = serverUrl(origin)
  if (url === undefined) {
    return new FileSource({ file: origin.replace(/^file:\/\//, ''), ...shared })
  }
  const node = env['STUNNER_NODENAME']
  return new CdsClient({ url, id, ...(node !== undefined && { node }), ...shared })
}

function serverUrl(origin: string): URL | undefined {
  const isAddress = /^(\[[0-9a-f:]+\]|[\w.-]*):\d{1,5}$/i.test(origin)
  if (!isAddress && !/^(https?|wss?):\/\//i.test(origin)) return undefined
  const text = isAddress ? `http://${origin.startsWith(':') ? 'localhost' : ''}${origin}` : origin
  if (URL.canParse(text)) return new URL(text)
  throw new StunnerdError('STUNNERD_BAD_ORIGIN', `"${origin}" is not a URL of a config discovery server`)
}

/** Who we are to the control plane: `--id`, else the environment, else the name of the machine. */
export function idOf(option: string | undefined, env: Environment): string {
  const { STUNNER_NAMESPACE: namespace = '', STUNNER_NAME: name = '' } = env
  if (option !== undefined && option !== '') return option
  return namespace !== '' && name !== '' ? `${namespace}/${name}` : `default/stunnerd-${hostname()}`
}
