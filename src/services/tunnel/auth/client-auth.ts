import type { Clock } from '../../../foundation/clock.ts'
import type { FrpcAuthConfig } from '../../../mechanisms/frp-config/index.ts'
import { clientTokenAuth } from './client-token-auth.ts'
import type { ClientAuth } from './contract.ts'
import { configuredToken } from './server-auth.ts'

/**
 * What a client proves itself with, by its configuration. `auth.tokenSource` is read once, here.
 *
 * @throws TunnelError TUNNEL_BAD_OPTION
 */
export async function clientAuth(
  auth: FrpcAuthConfig,
  parts: { readonly clock: Clock },
): Promise<ClientAuth> {
  if (auth.method === 'oidc') {
    // Its libraries take tens of megabytes.
    const { oidcClientAuth } = await import('./oidc-client-auth.ts')
    return oidcClientAuth(auth, parts)
  }
  return clientTokenAuth({ ...auth, token: await configuredToken(auth) }, parts)
}
