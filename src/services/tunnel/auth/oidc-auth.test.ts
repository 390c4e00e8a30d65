import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, request as forward } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ManualClock, systemClock } from '../../../foundation/clock.ts'
import type { FrpcAuthConfig, FrpsConfig } from '../../../mechanisms/frp-config/index.ts'
import { makeCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import type { Login } from '../../../protocols/frp/index.ts'
import type { ClientAuth, ServerAuth } from './contract.ts'
import { oidcClientAuth } from './oidc-client-auth.ts'
import {
  CLIENT_SECRET,
  startProvider,
  type TestProvider,
  type TestProviderOptions,
} from './oidc-provider.testkit.ts'
import { oidcServerAuth } from './oidc-server-auth.ts'
import { tokenAuth } from './token-auth.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})
const folder = mkdtempSync(join(tmpdir(), 'oidc-'))
afterAll(() => rmSync(folder, { recursive: true }))

const BOTH_SCOPES = ['HeartBeats', 'NewWorkConns'] as const

describe('OIDC, client and server with a real provider', () => {
  it('a client logs in, pings and brings work connections with one token', async () => {
    const provider = await open()
    const server = await serverFor(provider.issuer, { additionalScopes: BOTH_SCOPES, token: 'payload key' })
    const client = clientOf(provider, { additionalScopes: BOTH_SCOPES })
    const identity = await server.verifyLogin(loginWith(await client.login()))
    expect([identity.token, identity.grant]).toEqual(['payload key', undefined])
    await identity.verifyPing(await client.ping())
    await identity.verifyNewWorkConn({ run_id: 'r', ...(await client.newWorkConn()) })
    expect(provider.grants).toBe(1)
  })

  it('a token is asked for once by all who want it, and again shortly before it expires', async () => {
    const provider = await open({ tokenTtl: 100 })
    const clock = new ManualClock(Date.now())
    const client = clientOf(provider, { additionalScopes: BOTH_SCOPES }, clock)
    await Promise.all([client.login(), client.ping(), client.newWorkConn()])
    clock.advance(89_000)
    await client.ping()
    expect(provider.grants).toBe(1)
    clock.advance(2000)
    await client.ping()
    expect(provider.grants).toBe(2)
  })

  it('a wrong secret is an error that says what the provider says, and may be tried again', async () => {
    const provider = await open()
    const client = clientOf(provider, { oidc: { clientSecret: 'wrong' } })
    await expect(client.login()).rejects.toMatchObject({
      code: 'TUNNEL_UNAUTHORIZED',
      retryable: true,
      message: expect.stringMatching(/^couldn't acquire OIDC token: invalid_client/),
    })
  })

  it('what the provider refuses is named', async () => {
    const provider = await open()
    await expect(clientOf(provider, { oidc: { audience: 'forbidden' } }).login()).rejects.toThrow(
      /invalid_target/,
    )
  })

  it('a token for another audience is refused', async () => {
    const provider = await open()
    const server = await serverFor(provider.issuer)
    const login = await clientOf(provider, { oidc: { audience: 'elsewhere' } }).login()
    await expect(server.verifyLogin(loginWith(login))).rejects.toMatchObject({
      code: 'TUNNEL_UNAUTHORIZED',
      message: expect.stringMatching(/^invalid OIDC token in login: .*"aud"/),
    })
    const lax = await serverFor(provider.issuer, { oidc: { audience: '' } })
    await lax.verifyLogin(loginWith(login))
  })

  it('later messages must be of the subject that has logged in', async () => {
    const provider = await open()
    const server = await serverFor(provider.issuer, { additionalScopes: BOTH_SCOPES })
    const identity = await server.verifyLogin(loginWith(await clientOf(provider, {}).login()))
    const other = clientOf(provider, { additionalScopes: BOTH_SCOPES, oidc: { clientID: 'other' } })
    await server.verifyLogin(loginWith(await other.login()))
    await expect(identity.verifyPing(await other.ping())).rejects.toThrow(
      'received different OIDC subject in login and ping',
    )
    await expect(identity.verifyNewWorkConn({ run_id: 'r', ...(await other.newWorkConn()) })).rejects.toThrow(
      'received different OIDC subject in login and NewWorkConn',
    )
    await expect(identity.verifyPing({ privilege_key: '', timestamp: 0 })).rejects.toThrow(
      'invalid OIDC token in ping',
    )
  })

  it('a client of another configuration holds while the method and the token of the payload are the same', async () => {
    const provider = await open()
    const server = await serverFor(provider.issuer, { token: 'payload key' })
    const identity = await server.verifyLogin(loginWith(await clientOf(provider, {}).login()))
    const again = await serverFor(provider.issuer, { token: 'payload key', additionalScopes: BOTH_SCOPES })
    const otherKey = await serverFor(provider.issuer, { token: 'other key' })
    expect([again.holds(identity, 'u'), otherKey.holds(identity, 'u')]).toEqual([true, false])
    expect(again.holds({ ...identity, method: 'token' }, 'u')).toBe(false)
    const byToken = tokenAuth(
      { token: 'payload key', tokens: [], additionalScopes: [], timestampWindow: 0 },
      { clock: systemClock },
    )
    expect(byToken.holds(identity, 'u')).toBe(false)
  })

  it('without the scopes nothing is asked for after the login', async () => {
    const provider = await open()
    const client = clientOf(provider, {})
    const identity = await (await serverFor(provider.issuer)).verifyLogin(loginWith(await client.login()))
    expect(await client.ping()).toEqual({ privilege_key: '', timestamp: 0 })
    await identity.verifyPing({ privilege_key: '', timestamp: 0 })
    await identity.verifyNewWorkConn({ run_id: 'r', privilege_key: '', timestamp: 0 })
  })
})

describe('an OIDC client', () => {
  it('names itself in a header where the form is not taken, and from then on at once', async () => {
    const seen: boolean[] = []
    const basic = `Basic ${Buffer.from(`frpc:${CLIENT_SECRET}`).toString('base64')}`
    const url = await listen((request, response) => {
      const isNamed = request.headers.authorization === basic
      seen.push(isNamed)
      let form = ''
      request.on('data', (chunk) => (form += String(chunk)))
      request.on('end', () => {
        response.setHeader('Content-Type', 'application/json')
        if (!isNamed) {
          response.setHeader('WWW-Authenticate', 'Basic realm="x"')
          response.writeHead(401).end('{"error":"invalid_client"}')
        } else if (form.includes('audience=forbidden')) {
          response.writeHead(400).end('{"error":"invalid_target","error_description":"not for you"}')
        } else response.end('{"access_token":"t","token_type":"Bearer"}')
      })
    })
    const client = clientOf({ tokenEndpoint: url }, {})
    expect((await client.login()).privilege_key).toBe('t')
    expect((await client.login()).privilege_key).toBe('t')
    expect(seen).toEqual([false, true, true])

    const forbidden = clientOf({ tokenEndpoint: url }, { oidc: { audience: 'forbidden' } })
    await expect(forbidden.login()).rejects.toThrow('invalid_target not for you')
    const wrong = clientOf({ tokenEndpoint: url }, { oidc: { clientSecret: 'wrong' } })
    await expect(wrong.login()).rejects.toThrow('the provider answered 401')
  })

  it('sends scope, audience and further parameters, and asks again where no expiry came', async () => {
    const forms: URLSearchParams[] = []
    const url = await listen((request, response) => {
      let text = ''
      request.on('data', (chunk) => (text += String(chunk)))
      request.on('end', () => {
        forms.push(new URLSearchParams(text))
        response.setHeader('Content-Type', 'application/json')
        response.end(JSON.stringify({ access_token: `t${forms.length}`, token_type: 'Bearer' }))
      })
    })
    const client = clientOf(
      { tokenEndpoint: url },
      { oidc: { scope: 'a b', additionalEndpointParams: { resource: 'urn:x' } } },
    )
    expect((await client.login()).privilege_key).toBe('t1')
    expect((await client.login()).privilege_key).toBe('t2')
    expect(Object.fromEntries(forms[0] ?? [])).toEqual({
      grant_type: 'client_credentials',
      client_id: 'frpc',
      client_secret: CLIENT_SECRET,
      scope: 'a b',
      audience: 'frps',
      resource: 'urn:x',
    })
  })

  it('an answer that is too long is an error', async () => {
    const url = await listen((_, response) => {
      response.setHeader('Content-Type', 'application/json')
      response.end(`{"access_token":"${'x'.repeat(2_000_000)}","token_type":"Bearer"}`)
    })
    await expect(clientOf({ tokenEndpoint: url }, {}).login()).rejects.toThrow(/more than 1048576 bytes/)
  })

  it('takes the certificate of its own authority, or any, but no stranger', async () => {
    const tls = await makeCertificate()
    const provider = await open({ tls })
    const trustedCaFile = join(folder, 'ca.pem')
    writeFileSync(trustedCaFile, tls.cert)
    expect((await clientOf(provider, { oidc: { trustedCaFile } }).login()).privilege_key).not.toBe('')
    expect((await clientOf(provider, { oidc: { insecureSkipVerify: true } }).login()).privilege_key).not.toBe(
      '',
    )
    await expect(clientOf(provider, {}).login()).rejects.toThrow(/certificate/)
  })

  it('goes through a proxy, with a user where the address has one', async () => {
    const provider = await open()
    const seen: (string | undefined)[] = []
    const proxy = createServer((request, response) => {
      seen.push(request.headers['proxy-authorization'])
      const { headers, method = 'GET', url = '' } = request
      request.pipe(
        forward(url, { method, headers }, (reply) => {
          response.writeHead(reply.statusCode ?? 500, reply.headers)
          reply.pipe(response)
        }),
      )
    })
    proxy.on('connect', ({ url = '', headers }: IncomingMessage, socket: Socket) => {
      seen.push(headers['proxy-authorization'])
      const upstream = connect(Number(url.split(':')[1]), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        socket.pipe(upstream).pipe(socket)
      })
    })
    const address = await listenOn(proxy)
    const proxyURL = address.replace('//', '//ann:pw@')
    expect((await clientOf(provider, { oidc: { proxyURL } }).login()).privilege_key).not.toBe('')
    expect(seen).toEqual([`Basic ${Buffer.from('ann:pw').toString('base64')}`])
  })

  it.each([
    ['tokenEndpointURL', { tokenEndpointURL: 'nowhere' }, /tokenEndpointURL "nowhere" is not a URL/],
    ['trustedCaFile', { trustedCaFile: join(folder, 'no.pem') }, /no\.pem/],
    ['proxyURL', { proxyURL: 'ftp://ann:s3cret@x' }, /^auth\.oidc\.proxyURL (?!.*s3cret)/],
  ])('says which setting cannot be used: %s', (_, oidc, message) => {
    const make = (): ClientAuth => clientOf({ tokenEndpoint: 'http://127.0.0.1:1/token' }, { oidc })
    expect(make).toThrow(expect.objectContaining({ code: 'TUNNEL_BAD_OPTION' }))
    expect(make).toThrow(message)
  })

  it('reads the token from its source each time', async () => {
    const path = join(folder, 'token')
    const client = clientOf(
      { tokenEndpoint: '' },
      { oidc: { tokenSource: { type: 'file', file: { path } } } },
    )
    await expect(client.login()).rejects.toThrow(/^couldn't acquire OIDC token: failed to read file/)
    writeFileSync(path, ' one\n')
    expect((await client.login()).privilege_key).toBe('one')
    writeFileSync(path, 'two')
    expect((await client.login()).privilege_key).toBe('two')
  })
})

describe('an OIDC server', () => {
  let keys: Awaited<ReturnType<typeof generateKeyPair>>
  beforeAll(async () => {
    keys = await generateKeyPair('ES256', { extractable: true })
  })

  /** A provider that has metadata and keys only. Names itself `name` where that is given. */
  async function issuer(name?: string): Promise<string> {
    const jwk = await exportJWK(keys.publicKey)
    const url: string = await listen(({ url: path, headers }, response) => {
      const self = `http://${headers.host}`
      response.setHeader('Content-Type', 'application/json')
      response.end(
        JSON.stringify(
          path === '/keys'
            ? { keys: [{ ...jwk, kid: 'k', alg: 'ES256' }] }
            : { issuer: name ?? self, jwks_uri: `${self}/keys` },
        ),
      )
    })
    return url
  }

  function signed(claims: Record<string, unknown>): Promise<string> {
    return new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(keys.privateKey)
  }

  const now = Math.floor(Date.now() / 1000)

  it.each([
    ['of the provider', {}, {}, true],
    ['of another issuer', { iss: 'http://other.example' }, {}, false],
    [
      'of another issuer, where that is not looked at',
      { iss: 'http://other.example' },
      { skipIssuerCheck: true },
      true,
    ],
    ['that has expired', { exp: now - 60 }, {}, false],
    ['that has expired, where that is not looked at', { exp: now - 60 }, { skipExpiryCheck: true }, true],
    ['without an end', { exp: undefined }, {}, false],
    ['without an end, where that is not looked at', { exp: undefined }, { skipExpiryCheck: true }, true],
    ['that does not begin yet', { nbf: now + 60 }, {}, false],
    ['for several audiences', { aud: ['other', 'frps'] }, {}, true],
    ['for no audience', { aud: undefined }, {}, false],
    ['for no audience, where none is asked for', { aud: undefined }, { audience: '' }, true],
  ])('a token %s', async (_, claims, oidc, isTaken) => {
    const url = await issuer()
    const server = await serverFor(url, { oidc })
    const token = await signed({ iss: url, aud: 'frps', sub: 's', exp: now + 60, ...claims })
    const result = server.verifyLogin(loginWith({ privilege_key: token }))
    if (isTaken) await result
    else await expect(result).rejects.toMatchObject({ code: 'TUNNEL_UNAUTHORIZED' })
  })

  it('refuses what is not signed with a key of the provider', async () => {
    const url = await issuer()
    const server = await serverFor(url)
    const claims = { iss: url, aud: 'frps', sub: 's', exp: now + 60 }
    const stranger = await generateKeyPair('ES256')
    const jwk = await exportJWK(keys.publicKey)
    const forged = [
      new UnsecuredJWT(claims).encode(),
      await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(stranger.privateKey),
      // The public key taken for a shared secret.
      await new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', kid: 'k' })
        .sign(new TextEncoder().encode(JSON.stringify(jwk))),
      `${await signed(claims)}x`,
      'x.y.z',
      '',
    ]
    for (const privilege_key of forged) {
      await expect(server.verifyLogin(loginWith({ privilege_key }))).rejects.toThrow(
        'invalid OIDC token in login',
      )
    }
  })

  it('does not start when the provider cannot be reached, is another one, or is none', async () => {
    const nowhere = await listen(() => {})
    await closers.pop()?.()
    await expect(serverFor(nowhere)).rejects.toMatchObject({
      code: 'TUNNEL_BAD_OPTION',
      message: expect.stringMatching(
        /^auth\.oidc\.issuer "http:\/\/127\.0\.0\.1:\d+" cannot be used: .*ECONNREFUSED/,
      ),
    })
    const other = await issuer('http://other.example')
    await expect(serverFor(other)).rejects.toThrow(/issuer/)
    const none = await listen((_, response) => response.writeHead(404).end())
    await expect(serverFor(none)).rejects.toThrow(/cannot be used/)
    await expect(serverFor('not a url')).rejects.toThrow(/cannot be used: Invalid URL/)
  })
})

async function open(options?: TestProviderOptions): Promise<TestProvider> {
  const provider = await startProvider(options)
  closers.push(() => provider.close())
  return provider
}

function serverFor(
  issuer: string,
  auth: Partial<Omit<FrpsConfig['auth'], 'oidc'>> & {
    readonly oidc?: Partial<FrpsConfig['auth']['oidc']>
  } = {},
): Promise<ServerAuth> {
  return oidcServerAuth(
    {
      token: '',
      additionalScopes: [],
      ...auth,
      oidc: { issuer, audience: 'frps', skipExpiryCheck: false, skipIssuerCheck: false, ...auth.oidc },
    },
    { clock: systemClock },
  )
}

function clientOf(
  { tokenEndpoint }: { readonly tokenEndpoint: string },
  auth: Partial<Omit<FrpcAuthConfig, 'oidc'>> & { readonly oidc?: Partial<FrpcAuthConfig['oidc']> },
  clock = new ManualClock(Date.now()),
): ClientAuth {
  return oidcClientAuth(
    {
      token: '',
      additionalScopes: [],
      ...auth,
      oidc: {
        clientID: 'frpc',
        clientSecret: CLIENT_SECRET,
        audience: 'frps',
        scope: '',
        tokenEndpointURL: tokenEndpoint,
        additionalEndpointParams: {},
        trustedCaFile: '',
        insecureSkipVerify: false,
        proxyURL: '',
        tokenSource: undefined,
        ...auth.oidc,
      },
    },
    { clock },
  )
}

function loginWith(proof: Partial<Login>): Login {
  return {
    version: '0.70.1',
    hostname: 'h',
    os: 'linux',
    arch: 'amd64',
    user: '',
    privilege_key: '',
    timestamp: 0,
    run_id: '',
    client_id: '',
    metas: {},
    pool_count: 1,
    half_close: false,
    ...proof,
  }
}

function listen(listener: RequestListener): Promise<string> {
  return listenOn(createServer(listener))
}

async function listenOn(server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
