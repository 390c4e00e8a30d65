import { readFile } from 'node:fs/promises'
import { systemClock } from '../foundation/clock.ts'
import { CredentialError, iceConfigurationOf, issueCredential } from '../services/turn/index.ts'
import { configOf } from './config-file.ts'

/** The options of the command line; secrets are none of them, since lists of processes show those. */
export interface CredentialOptions {
  readonly user?: string
  readonly ttl?: string
  readonly ice?: boolean
  readonly relayOnly?: boolean
  readonly uri?: readonly string[]
  readonly secretFile?: string
  readonly config?: string
}

/**
 * `sluice credential`: a time-limited credential as JSON, as draft-uberti-behave-turn-rest has it or, with `--ice`, as
 * browsers take it. The secret comes from `--secret-file`, else from SLUICE_TURN_SECRET, else from `[turn]` of the
 * configuration, as does what the other options do not say.
 *
 * @throws TURN_CREDENTIAL_NO_SECRET, TURN_CREDENTIAL_NO_URIS, TURN_CREDENTIAL_BAD_REQUEST, and CONFIG_*
 */
export async function credential(options: CredentialOptions): Promise<void> {
  const { user, ice = false, relayOnly = false, uri } = options
  const configured = (await configOf(options.config))?.turn
  const issued = issueCredential({
    secret: await secretOf(options.secretFile, configured?.credentials.secrets[0]),
    uris: (uri ?? configured?.uris ?? []).map(checkUri),
    ttlSeconds: ttlOf(options.ttl, configured?.credentials.ttlSeconds),
    ...(configured !== undefined && { separator: configured.credentials.separator }),
    wallMs: systemClock.wallMs(),
    ...(user !== undefined && { userId: user }),
  })
  const shown = ice || relayOnly ? iceConfigurationOf(issued, relayOnly ? 'relay' : undefined) : issued
  process.stdout.write(`${JSON.stringify(shown, undefined, 2)}\n`)
}

const defaultTtlSeconds = 86_400

async function secretOf(file: string | undefined, configured: string | undefined): Promise<string> {
  // A variable that is set to nothing is none.
  const found = file === undefined ? process.env['SLUICE_TURN_SECRET'] || configured : await firstLine(file)
  if (found !== undefined && found !== '') return found
  throw new CredentialError(
    'TURN_CREDENTIAL_NO_SECRET',
    file === undefined
      ? 'no secret: name a file with --secret-file, set SLUICE_TURN_SECRET, or configure turn.credentials.secrets'
      : `${file} has no secret in its first line`,
  )
}

async function firstLine(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).split(/\r?\n/, 1)[0] ?? ''
  } catch (cause) {
    throw new CredentialError('TURN_CREDENTIAL_NO_SECRET', `${file} cannot be read`, { cause })
  }
}

function ttlOf(text: string | undefined, configured = defaultTtlSeconds): number {
  if (text === undefined) return configured
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text)
  throw badArgument(`--ttl is "${text}", not whole seconds from 1`)
}

function checkUri(uri: string): string {
  if (/^(?:stun|turn)s?:[^\s/]+$/.test(uri)) return uri
  throw badArgument(`"${uri}" is no URI such as turn:turn.example.com:3478?transport=udp`)
}

function badArgument(message: string): CredentialError {
  return new CredentialError('TURN_CREDENTIAL_BAD_REQUEST', message, { side: 'client' })
}
