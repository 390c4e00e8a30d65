import { issueCredential } from '../../services/turn/index.ts'
import { TurncatError, TurncatErrorCode } from './errors.ts'
import type { TurnIdentity } from './turn-uri.ts'

/**
 * Who we are, when the URI does not say: SLUICE_TURN_USERNAME and SLUICE_TURN_PASSWORD, or SLUICE_TURN_SECRET. Unlike the
 * command line the environment is not shown in lists of processes.
 *
 * @throws TURNCAT_NO_CREDENTIALS
 */
export function identityFrom(environment: Readonly<Record<string, string | undefined>>): TurnIdentity {
  const username = environment['SLUICE_TURN_USERNAME']
  const password = environment['SLUICE_TURN_PASSWORD']
  if (username && password) return { username, password }
  const secret = environment['SLUICE_TURN_SECRET']
  if (secret) return { secret }
  throw new TurncatError(
    TurncatErrorCode.noCredentials,
    'no credentials: write turn://user:password@host or turn://secret@host, or set SLUICE_TURN_USERNAME and SLUICE_TURN_PASSWORD, or SLUICE_TURN_SECRET',
  )
}

/** User and password for one allocation; with a secret they are new ones, good for a day. */
export function credentialsOf(
  identity: TurnIdentity,
  wallMs: number,
): { readonly username: string; readonly password: string } {
  if (!('secret' in identity)) return identity
  return issueCredential({ secret: identity.secret, uris: [], ttlSeconds: 86_400, wallMs })
}
