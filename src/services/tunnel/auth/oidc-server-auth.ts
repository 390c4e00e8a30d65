import { createRemoteJWKSet, customFetch as jwksFetch, jwtVerify, type JWTPayload } from 'jose'
import { allowInsecureRequests, customFetch, discovery, None } from 'openid-client'
import type { Clock } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { FrpsConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Login } from '../../../protocols/frp/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import type { Identity, ServerAuth } from './contract.ts'
import { oidcFetch } from './oidc-fetch.ts'

/** How far the provider's clock may be off, in seconds. */
const CLOCK_TOLERANCE_SECONDS = 30
const DISCOVERY_TIMEOUT_SECONDS = 10
/** Tokens with keys that are not known make the keys be fetched again, no more often than this. */
const JWKS_COOLDOWN_MS = 30_000

/**
 * Authentication by access tokens of an OIDC provider: JWTs, whose signature, issuer, audience and time are checked. What
 * a client sends later, in the scopes that ask for it, must be of the subject that has logged in.
 *
 * Asks the provider for its metadata once, now.
 *
 * @throws TunnelError TUNNEL_BAD_OPTION when the provider cannot be reached or is not the one that is named
 */
export async function oidcServerAuth(
  auth: Pick<FrpsConfig['auth'], 'token' | 'additionalScopes' | 'oidc'>,
  { clock }: { readonly clock: Clock },
): Promise<ServerAuth> {
  const verify = await tokenVerifier(auth.oidc, clock)
  return {
    // With a token of the issuer, as long as that lasts; its end is seen at the next scope or login.
    holds: ({ method, token }) => method === 'oidc' && token === auth.token,

    async verifyLogin(login: Login): Promise<Identity> {
      const { sub: subject } = await verify(login.privilege_key, 'login')
      const verifyLater = async (token: string, what: string): Promise<void> => {
        const { sub } = await verify(token, what)
        if (sub === subject) return
        throw unauthorized(`received different OIDC subject in login and ${what}`)
      }
      return {
        method: 'oidc',
        token: auth.token,
        grant: undefined,
        async verifyPing({ privilege_key }) {
          if (auth.additionalScopes.includes('HeartBeats')) await verifyLater(privilege_key, 'ping')
        },
        async verifyNewWorkConn({ privilege_key }) {
          if (auth.additionalScopes.includes('NewWorkConns')) await verifyLater(privilege_key, 'NewWorkConn')
        },
      }
    },
  }
}

type Verify = (token: string, what: string) => Promise<JWTPayload>

async function tokenVerifier(
  { issuer, audience, skipExpiryCheck, skipIssuerCheck }: FrpsConfig['auth']['oidc'],
  clock: Clock,
): Promise<Verify> {
  const fetch = oidcFetch({ trustedCaFile: '', insecureSkipVerify: false, proxyURL: '' })
  const provider = await discover(issuer, fetch)
  const keys = createRemoteJWKSet(provider.keys, {
    cooldownDuration: JWKS_COOLDOWN_MS,
    [jwksFetch]: fetch,
  })
  return async (token, what) => {
    try {
      const { payload } = await jwtVerify(token, keys, {
        ...(!skipIssuerCheck && { issuer: provider.issuer }),
        ...(audience !== '' && { audience }),
        ...(!skipExpiryCheck && { requiredClaims: ['exp'] }),
        currentDate: new Date(clock.wallMs()),
        clockTolerance: skipExpiryCheck ? Number.MAX_SAFE_INTEGER : CLOCK_TOLERANCE_SECONDS,
      })
      return payload
    } catch (cause) {
      throw unauthorized(`invalid OIDC token in ${what}: ${errorMessage(cause)}`, cause)
    }
  }
}

async function discover(
  issuer: string,
  fetch: ReturnType<typeof oidcFetch>,
): Promise<{ readonly issuer: string; readonly keys: URL }> {
  try {
    // Providers inside a private network speak plain HTTP now and then; frp asks them, too.
    const provider = await discovery(new URL(issuer), 'frps', undefined, None(), {
      // oxlint-disable-next-line typescript/no-deprecated -- marked so only to stand out
      execute: [allowInsecureRequests],
      timeout: DISCOVERY_TIMEOUT_SECONDS,
      [customFetch]: fetch,
    })
    const { issuer: name, jwks_uri: keys = '' } = provider.serverMetadata()
    return { issuer: name, keys: new URL(keys) }
  } catch (cause) {
    throw new TunnelError(
      TunnelErrorCode.badOption,
      `auth.oidc.issuer "${issuer}" cannot be used: ${reasonOf(cause)}`,
      { side: 'self', cause },
    )
  }
}

/** With the cause: `fetch` says only that it failed. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error) || error.cause === undefined) return errorMessage(error)
  return error.cause instanceof Error ? `${error.message}: ${reasonOf(error.cause)}` : error.message
}

function unauthorized(message: string, cause?: unknown): TunnelError {
  return new TunnelError(TunnelErrorCode.unauthorized, message, { side: 'client', cause })
}
