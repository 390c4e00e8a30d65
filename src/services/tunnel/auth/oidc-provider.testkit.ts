import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { type Configuration, errors } from 'oidc-provider'

/** An OIDC server of its own on loopback, which gives JWT access tokens by the client credentials grant. */
export interface TestProvider {
  readonly issuer: string
  readonly tokenEndpoint: string
  /** Requests for tokens so far. */
  readonly grants: number
  close(): Promise<void>
}

/** How the server is, beside the defaults. */
export interface TestProviderOptions {
  /** Life of a token in seconds. @defaultValue 600 */
  readonly tokenTtl?: number
  /** PEM; with it the server speaks TLS. */
  readonly tls?: { readonly cert: string; readonly key: string }
}

/** The clients that it knows: `frpc` and `other`, whose secret is `s3cret`. */
export const CLIENT_SECRET = 's3cret'

/** Every `audience` that is asked for is granted, but `forbidden`. */
export async function startProvider({
  tokenTtl = 600,
  tls,
}: TestProviderOptions = {}): Promise<TestProvider> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  const server = tls === undefined ? createServer() : createTlsServer(tls)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const issuer = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`
  const configuration: Configuration = {
    clients: ['frpc', 'other'].map((client_id) => ({
      client_id,
      client_secret: CLIENT_SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
    })),
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'one', alg: 'RS256', use: 'sig' }] },
    scopes: ['frp'],
    ttl: { ClientCredentials: tokenTtl },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // What frp calls audience is a parameter that standard servers call resource.
        defaultResource: (ctx) => `urn:${audienceOf(ctx.oidc.body)}`,
        getResourceServerInfo: (_ctx, resource) => {
          if (resource === 'urn:forbidden') throw new errors.InvalidTarget()
          return { scope: 'frp', audience: resource.replace(/^urn:/, ''), accessTokenFormat: 'jwt' }
        },
      },
    },
  }
  const provider = new Provider(issuer, configuration)
  provider.proxy = true
  let grants = 0
  provider.on('grant.success', () => grants++)
  const serve = provider.callback()
  server.on('request', (request, response) => void serve(request, response))
  return {
    issuer,
    tokenEndpoint: `${issuer}/token`,
    get grants() {
      return grants
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function audienceOf(form: Readonly<Record<string, unknown>> | undefined): string {
  const audience = form?.['audience']
  return typeof audience === 'string' ? audience : 'frps'
}
