import { createPublicKey } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import type { AccessJwtConfig } from '../../../mechanisms/config/access-config.ts'
import { keyPairs, makeToken, pemOf, rules } from './access.testkit.ts'
import { AccessError } from './errors.ts'
import type { Wish } from './token-claims.ts'
import { Tokens } from './tokens.ts'

const secret = 'correct-horse-battery-staple-0123'
const other = 'another-secret-of-the-same-length'
const wish: Wish = { vhost: '__defaultVhost__', app: 'live', stream: 's', role: 'publish' }
const clock = new ManualClock()
const nowSeconds = clock.wallMs() / 1000
const good = { app: 'live', stream: 's', action: 'publish', exp: nowSeconds + 60 }

function tokens(some: object): Tokens {
  const [rule] = rules({ publish: { jwt: some } })
  return tokensOf(rule?.publish.jwt)
}

function tokensOf(config: AccessJwtConfig | undefined, at: ManualClock = clock): Tokens {
  if (config === undefined) throw new Error('no jwt')
  return new Tokens(config, undefined, at)
}

/** `good`, `not ours`, or what is thrown. */
async function check(checker: Tokens, token: string, some: Partial<Wish> = {}): Promise<string> {
  try {
    return (await checker.check(token, { ...wish, ...some })) === undefined ? 'not ours' : 'good'
  } catch (error) {
    if (error instanceof AccessError) return `${error.code}: ${error.message}`
    throw error
  }
}

const hmac = tokens({ secrets: [secret] })
const hs256 = (claims: object): string => makeToken({ alg: 'HS256' }, claims, secret)
const checkClaims = (claims: object, some: Partial<Wish> = {}, options: object = {}): Promise<string> =>
  check(tokens({ secrets: [secret], ...options }), hs256(claims), some)

describe('Tokens: signatures', () => {
  it.for(['HS256', 'HS384', 'HS512'])('takes %s', async (alg) => {
    expect(await check(hmac, makeToken({ alg }, good, secret))).toBe('good')
    expect(await check(hmac, makeToken({ alg }, good, other))).toBe('not ours')
  })

  it.for(['RS256', 'ES256', 'EdDSA'] as const)('takes %s', async (alg) => {
    const checker = tokens({ publicKeys: Object.values(keyPairs).map(pemOf) })
    const token = makeToken({ alg }, good, keyPairs[alg].privateKey)
    expect(await check(checker, token)).toBe('good')
    const [header, , signature] = token.split('.')
    const forged = Buffer.from(JSON.stringify({ ...good, stream: '*' })).toString('base64url')
    expect(await check(checker, `${header}.${forged}.${signature}`)).toBe('not ours')
  })

  it('takes the vectors of others', async () => {
    // The example of jwt.io.
    const base = rules({ publish: { jwt: { secrets: [secret], required: [], requireExpiry: false } } })[0]
      ?.publish.jwt
    if (base === undefined) throw new Error('no jwt')
    const example =
      'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c'
    expect(await check(tokensOf({ ...base, secrets: ['your-256-bit-secret'] }), example)).toBe('good')
    // RFC 7515, A.3.
    const key = createPublicKey({
      format: 'jwk',
      key: {
        kty: 'EC',
        crv: 'P-256',
        x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
        y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
      },
    })
    const token =
      'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q'
    const config = { ...base, secrets: [], publicKeys: [pemOf({ publicKey: key })] }
    expect(await check(tokensOf(config, new ManualClock(1_300_819_000_000)), token)).toBe('good')
    expect(await check(tokensOf(config), token)).toBe('ACCESS_EXPIRED: the token has expired')
  })

  it('tries every secret, so that they can be changed one after the other', async () => {
    const both = tokens({ secrets: [other, secret] })
    expect(await check(both, hs256(good))).toBe('good')
    expect(await check(both, makeToken({ alg: 'HS256' }, good, other))).toBe('good')
  })

  it('never takes `none`', async () => {
    for (const alg of ['none', 'None', '']) {
      const unsigned = makeToken({ alg: 'none' }, good, '')
      const named = `${Buffer.from(JSON.stringify({ alg })).toString('base64url')}.${unsigned.split('.')[1]}.`
      expect(await check(hmac, named)).toBe('not ours')
    }
  })

  it('never takes a public key for a secret', async () => {
    const pem = pemOf(keyPairs.RS256)
    const confused = makeToken({ alg: 'HS256' }, good, pem)
    expect(await check(tokens({ publicKeys: [pem] }), confused)).toBe('not ours')
    expect(await check(tokens({ publicKeys: [pem], secrets: [secret] }), confused)).toBe('not ours')
  })

  it('takes no algorithm but those that are allowed', async () => {
    const only = tokens({ secrets: [secret], algorithms: ['HS512'] })
    expect(await check(only, hs256(good))).toBe('not ours')
    expect(await check(only, makeToken({ alg: 'HS512' }, good, secret))).toBe('good')
  })

  it.for([
    '',
    '.',
    '..',
    'a.b.c',
    'e30.e30.e30',
    '\u0000',
    'eyJhbGciOiJIUzI1NiJ9',
    'eyJhbGciOiJIUzI1NiJ9..',
    'eyJhbGciOlsiSFMyNTYiXX0.e30.x',
    'eyJhbGciOiJIUzI1NiIsImNyaXQiOlsiYSJdLCJhIjoxfQ.e30.x',
    '.'.repeat(8000),
  ])('does not take %j', async (text) => {
    expect(await check(hmac, text)).toBe('not ours')
  })

  it('does not take what is signed but no JSON', async () => {
    const { createHmac } = await import('node:crypto')
    for (const payload of ['null', '[]', '"x"', 'garbage']) {
      const signed = `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(payload).toString('base64url')}`
      const signature = createHmac('sha256', secret).update(signed).digest('base64url')
      expect(await check(hmac, `${signed}.${signature}`)).toBe('not ours')
    }
  })
})

describe('Tokens: time', () => {
  it('takes a token until it has expired, within the tolerance', async () => {
    expect(await checkClaims({ ...good, exp: nowSeconds - 9 })).toBe('good')
    expect(await checkClaims({ ...good, exp: nowSeconds - 11 })).toBe('ACCESS_EXPIRED: the token has expired')
  })

  it('does not take one that is for later', async () => {
    expect(await checkClaims({ ...good, nbf: nowSeconds + 9 })).toBe('good')
    expect(await checkClaims({ ...good, nbf: nowSeconds + 11 })).toMatch('"nbf" of the token')
  })

  it('needs an expiry, unless told otherwise', async () => {
    const { exp: _, ...endless } = good
    expect(await checkClaims(endless)).toMatch('"exp" of the token')
    expect(await checkClaims(endless, {}, { requireExpiry: false })).toBe('good')
    expect(await checkClaims({ ...good, exp: 'soon' })).toMatch('"exp" of the token')
  })

  it('says when a session with it ends', async () => {
    const token = hs256(good)
    expect(await hmac.check(token, wish)).toMatchObject({ endsAtMs: clock.wallMs() + 70_000 })
    expect(await tokens({ secrets: [secret], endWithToken: false }).check(token, wish)).not.toHaveProperty(
      'endsAtMs',
    )
  })
})

describe('Tokens: claims', () => {
  it.for([
    [{ stream: 'other' }, 'stream'],
    [{ stream: ['a', 'b'] }, 'stream'],
    [{ stream: 5 }, 'stream'],
    [{ stream: {} }, 'stream'],
    [{ stream: 'other/s' }, 'stream'],
    [{ app: 'vod' }, 'app'],
    [{ app: null }, 'app'],
    [{ action: 'play' }, 'action'],
    [{ action: 'read' }, 'action'],
    [{ action: [] }, 'action'],
    [{ vhost: 'example.com' }, 'vhost'],
  ] as const)('refuses %j', async ([claims, part]) => {
    expect(await checkClaims({ ...good, ...claims })).toBe(
      `ACCESS_CREDENTIALS_WRONG: the token is not for this ${part}`,
    )
  })

  it.for([
    { stream: '*' },
    { stream: ['a', 's'] },
    { stream: 'live/s' },
    { stream: 'live/*' },
    { app: '*' },
    { app: ['vod', 'li*'] },
    { app: undefined },
    { action: '*' },
    { action: ['play', 'publish'] },
    { vhost: '__defaultVhost__' },
  ])('takes %j', async (claims) => {
    expect(await checkClaims({ ...good, ...claims })).toBe('good')
  })

  it('needs what is required', async () => {
    const { stream: _, ...all } = good
    expect(await checkClaims(all)).toBe(
      'ACCESS_CREDENTIALS_WRONG: the token does not say for which stream it is',
    )
    expect(await checkClaims(all, {}, { required: ['action'] })).toBe('good')
    const { app: __, ...anyApp } = good
    expect(await checkClaims(anyApp, {}, { required: ['app'] })).toMatch('for which app')
  })

  it('reads claims of other names', async () => {
    const claims = { app: 'https://example.com/app', action: 'do' }
    const { app, action, ...rest } = good
    expect(await checkClaims({ ...rest, 'https://example.com/app': app, do: action }, {}, { claims })).toBe(
      'good',
    )
    expect(
      await checkClaims({ ...rest, 'https://example.com/app': 'vod', do: action }, {}, { claims }),
    ).toMatch('app')
  })

  it('looks at issuer and audience', async () => {
    const options = { issuers: ['me', 'you'], audiences: ['sluice'] }
    expect(await checkClaims({ ...good, iss: 'you', aud: ['x', 'sluice'] }, {}, options)).toBe('good')
    expect(await checkClaims({ ...good, iss: 'she', aud: 'sluice' }, {}, options)).toMatch('"iss"')
    expect(await checkClaims({ ...good, iss: 'me', aud: 'x' }, {}, options)).toMatch('"aud"')
    expect(await checkClaims({ ...good, aud: 'sluice' }, {}, options)).toMatch('"iss"')
  })

  it('reads the permissions of MediaMTX', async () => {
    const allowed = (list: unknown, some: Partial<Wish> = {}): Promise<string> =>
      checkClaims({ exp: good.exp, mediamtx_permissions: list }, some)
    const publish = { action: 'publish', path: 'live/s' }
    expect(await allowed([{ action: 'read', path: 'x' }, publish])).toBe('good')
    expect(await allowed(JSON.stringify([publish]))).toBe('good')
    expect(await allowed([{ action: 'publish' }])).toBe('good')
    expect(await allowed([{ action: 'read', path: '' }], { role: 'play' })).toBe('good')
    const refusal = 'ACCESS_CREDENTIALS_WRONG: the token is not for this stream and action'
    expect(await allowed([{ action: 'publish', path: '~*' }], { app: '~a' })).toBe(refusal)
    expect(await allowed([publish], { role: 'play' })).toBe(refusal)
    expect(await allowed([publish], { stream: 't' })).toBe(refusal)
    for (const list of [
      [],
      {},
      null,
      'x',
      5,
      [null],
      [{ action: 'publish', path: '~.*' }],
      [{ path: 'live/s' }],
    ]) {
      expect(await allowed(list)).toBe(refusal)
    }
  })
})

describe('Tokens: keys', () => {
  it('names the key, to find it again in other rules', async () => {
    const { signedBy = '' } = (await hmac.check(hs256(good), wish)) ?? {}
    expect(tokens({ secrets: [other, secret] }).has(signedBy)).toBe(true)
    expect(tokens({ secrets: [other] }).has(signedBy)).toBe(false)
    expect(signedBy).not.toContain(secret)
  })

  it('refuses keys that cannot be read', () => {
    const [rule] = rules({ publish: { jwt: { secrets: [secret] } } })
    const config = rule?.publish.jwt
    if (config === undefined) throw new Error('no jwt')
    expect(() => tokensOf({ ...config, publicKeys: ['garbage'] })).toThrow(AccessError)
  })
})
