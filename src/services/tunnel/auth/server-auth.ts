import type { Clock } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { FrpsConfig } from '../../../mechanisms/frp-config/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import type { ServerAuth } from './contract.ts'
import { tokenAuth } from './token-auth.ts'
import { resolveValueSource } from './value-source.ts'

/**
 * What a server checks its clients with, by its configuration. `auth.tokenSource` is read once, here.
 *
 * @throws TunnelError TUNNEL_BAD_OPTION
 */
export async function serverAuth(
  auth: FrpsConfig['auth'],
  parts: { readonly clock: Clock },
): Promise<ServerAuth> {
  if (auth.method === 'token') return tokenAuth({ ...auth, token: await configuredToken(auth) }, parts)
  if (auth.tokens.length > 0) {
    throw new TunnelError(TunnelErrorCode.badOption, 'auth.tokens is for auth.method = "token"', {
      side: 'self',
    })
  }
  // Its libraries take tens of megabytes.
  const { oidcServerAuth } = await import('./oidc-server-auth.ts')
  return oidcServerAuth(auth, parts)
}

/** The token itself, or what its source gives. @throws TunnelError TUNNEL_BAD_OPTION */
export async function configuredToken({
  token,
  tokenSource,
}: Pick<FrpsConfig['auth'], 'token' | 'tokenSource'>): Promise<string> {
  if (tokenSource === undefined) return token
  try {
    return await resolveValueSource(tokenSource)
  } catch (cause) {
    const message = `failed to resolve auth.tokenSource: ${errorMessage(cause)}`
    throw new TunnelError(TunnelErrorCode.badOption, message, { side: 'self', cause })
  }
}
