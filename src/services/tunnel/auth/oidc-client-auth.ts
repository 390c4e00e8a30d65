import {
  allowInsecureRequests,
  clientCredentialsGrant,
  type ClientAuth as ClientAuthentication,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  customFetch,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client'
import type { Clock } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { AuthScope, FrpcAuthConfig } from '../../../mechanisms/frp-config/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import { NO_PROOF } from './client-token-auth.ts'
import type { ClientAuth, Proof } from './contract.ts'
import { type OidcFetch, oidcFetch } from './oidc-fetch.ts'
import { resolveValueSource } from './value-source.ts'

/** A token that ends within this time is not sent any more. */
const EXPIRY_MARGIN_MS = 10_000
const TOKEN_TIMEOUT_SECONDS = 10

/**
 * A client that shows an access token of an OIDC provider, in its login and in what `additionalScopes` says. The token is
 * asked for by the client credentials grant and kept until shortly before it expires, or comes from `oidc.tokenSource`,
 * which is asked each time.
 *
 * @throws TunnelError TUNNEL_BAD_OPTION for settings that cannot be used
 */
export function oidcClientAuth(
  auth: Pick<FrpcAuthConfig, 'token' | 'additionalScopes' | 'oidc'>,
  { clock }: { readonly clock: Clock },
): ClientAuth {
  const { tokenSource } = auth.oidc
  const accessToken =
    tokenSource === undefined ? grantedTokens(auth.oidc, clock) : () => resolveValueSource(tokenSource)
  const prove = async (): Promise<Proof> => {
    try {
      return { privilege_key: await accessToken(), timestamp: 0 }
    } catch (cause) {
      throw new TunnelError(TunnelErrorCode.unauthorized, `couldn't acquire OIDC token: ${reasonOf(cause)}`, {
        side: 'origin',
        retryable: true,
        cause,
      })
    }
  }
  const proveFor = (scope: AuthScope): ClientAuth['ping'] =>
    auth.additionalScopes.includes(scope) ? prove : () => Promise.resolve(NO_PROOF)
  return {
    token: auth.token,
    // frp stamps every login, though nobody reads it here.
    login: async () => ({ ...(await prove()), timestamp: Math.floor(clock.wallMs() / 1000) }),
    ping: proveFor('HeartBeats'),
    newWorkConn: proveFor('NewWorkConns'),
  }
}

interface GrantedToken {
  readonly text: string
  readonly expiresAtMs: number
}

/** Gives the token that is kept, or one request's for all who ask meanwhile. */
function grantedTokens(oidc: FrpcAuthConfig['oidc'], clock: Clock): () => Promise<string> {
  const requestToken = tokenRequest(oidc)
  let kept: GrantedToken | undefined
  let pending: Promise<string> | undefined
  const renew = async (): Promise<string> => {
    try {
      const { access_token, expires_in } = await requestToken()
      // Without an expiry nobody knows how long it is good.
      const lifeMs = expires_in === undefined ? 0 : expires_in * 1000 - EXPIRY_MARGIN_MS
      kept = { text: access_token, expiresAtMs: clock.nowMs() + lifeMs }
      return access_token
    } finally {
      pending = undefined
    }
  }
  return async () => {
    if (kept !== undefined && clock.nowMs() < kept.expiresAtMs) return kept.text
    pending ??= renew()
    return pending
  }
}

type TokenRequest = () => Promise<{ readonly access_token: string; readonly expires_in?: number | undefined }>

/**
 * Providers take the secret in the form, or in a header: each is made for one of them, and most for both. The form is
 * tried first; what worked is kept.
 */
function tokenRequest(oidc: FrpcAuthConfig['oidc']): TokenRequest {
  const fetch = oidcFetch(oidc)
  const parameters = {
    ...(oidc.scope !== '' && { scope: oidc.scope }),
    ...oidc.additionalEndpointParams,
    ...(oidc.audience !== '' && { audience: oidc.audience }),
  }
  const ways = [ClientSecretPost, ClientSecretBasic].map((way) =>
    clientConfiguration(oidc, way(oidc.clientSecret), fetch),
  )
  return async () => {
    const [first, second] = ways
    if (first === undefined) throw new Error('no way is left')
    try {
      return await clientCredentialsGrant(first, parameters)
    } catch (error) {
      if (second === undefined || !isClientRefused(error)) throw error
      const token = await clientCredentialsGrant(second, parameters).catch((other: unknown) => {
        throw isClientRefused(other) ? error : other
      })
      ways.reverse()
      return token
    }
  }
}

function clientConfiguration(
  { clientID, tokenEndpointURL }: FrpcAuthConfig['oidc'],
  authentication: ClientAuthentication,
  fetch: OidcFetch,
): Configuration {
  if (!URL.canParse(tokenEndpointURL)) {
    throw new TunnelError(
      TunnelErrorCode.badOption,
      `auth.oidc.tokenEndpointURL "${tokenEndpointURL}" is not a URL`,
      { side: 'self' },
    )
  }
  // The issuer is not configured at a client, and this grant does not need it.
  const server = { issuer: new URL(tokenEndpointURL).origin, token_endpoint: tokenEndpointURL }
  const configuration = new Configuration(server, clientID, undefined, authentication)
  configuration.timeout = TOKEN_TIMEOUT_SECONDS
  configuration[customFetch] = fetch
  // Providers inside a private network speak plain HTTP now and then; frp asks them, too.
  // oxlint-disable-next-line typescript/no-deprecated -- marked so only to stand out
  if (new URL(tokenEndpointURL).protocol === 'http:') allowInsecureRequests(configuration)
  return configuration
}

/** Whether the provider did not take the way in which the client named itself. */
function isClientRefused(error: unknown): boolean {
  if (error instanceof WWWAuthenticateChallengeError) return error.status === 401
  return (
    error instanceof ResponseBodyError &&
    (error.status === 401 || error.error === 'invalid_client' || error.error === 'unauthorized_client')
  )
}

/** With what the provider says of it. */
function reasonOf(error: unknown): string {
  if (error instanceof ResponseBodyError) return [error.error, error.error_description ?? ''].join(' ').trim()
  if (error instanceof WWWAuthenticateChallengeError) return `the provider answered ${error.status}`
  if (error instanceof Error && error.cause instanceof Error)
    return `${error.message}: ${reasonOf(error.cause)}`
  return errorMessage(error)
}
