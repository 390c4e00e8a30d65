import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { accessSchema } from './access-schema.ts'

const secret = 'correct-horse-battery-staple-0123'
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()

function problems(...rules: readonly object[]): readonly string[] {
  const { error } = accessSchema.safeParse(rules, { reportInput: true })
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)
}

const publish = (some: object) => problems({ publish: some })
const jwt = (some: object) => problems({ publish: { jwt: some } })

describe('the [[media.access]] rules', () => {
  it('are none when nothing is said', () => {
    expect(accessSchema.parse(undefined)).toEqual([])
  })

  it('are complete when little is said', () => {
    const limits = {
      maxPerApp: 0,
      maxPerStream: 0,
      maxPerAddress: 0,
      appBytesPerSecond: 0,
      streamBytesPerSecond: 0,
      addressBytesPerSecond: 0,
      burstSeconds: 1,
    }
    const role = { allowFrom: [], denyFrom: [], keys: [], keyParameter: 'key', wrongPerMinute: 30, limits }
    const hooks = {
      onPublish: [],
      onUnpublish: [],
      onPlay: [],
      onStop: [],
      timeoutSeconds: 5,
      whenAway: 'deny',
    }
    expect(accessSchema.parse([{}])).toEqual([
      { vhost: '*', app: '*', stream: '*', publish: role, play: role, hooks },
    ])
    expect(
      accessSchema.parse([{ play: { jwt: { jwksUrl: 'https://example.com/keys' } } }])[0]?.play.jwt,
    ).toEqual({
      secrets: [],
      publicKeys: [],
      jwksUrl: 'https://example.com/keys',
      jwksTimeoutSeconds: 5,
      jwksMaxAgeSeconds: 600,
      jwksCooldownSeconds: 30,
      parameter: 'token',
      issuers: [],
      audiences: [],
      requireExpiry: true,
      endWithToken: true,
      clockToleranceSeconds: 10,
      required: ['stream', 'action'],
      claims: {
        vhost: 'vhost',
        app: 'app',
        stream: 'stream',
        action: 'action',
        permissions: 'mediamtx_permissions',
      },
    })
  })

  it('name the key that cannot be used', () => {
    expect(publish({ allowFrom: ['10.0.0.0/40'] })).toEqual([
      '0.publish.allowFrom.0: must be an address or a range such as 10.0.0.0/8 or fd00::/8',
    ])
    expect(publish({ keyParameter: 'a&b' })).toEqual([
      '0.publish.keyParameter: must be made of letters, digits and . _ ~ -',
    ])
    expect(publish({ limits: { streamBytesPerSecond: 100 } })).toEqual([
      '0.publish.limits.streamBytesPerSecond: must be 0 (no limit) or at least 65536',
    ])
    expect(publish({ limits: { maxPerApp: -1 } })).toEqual([
      expect.stringMatching(/^0\.publish\.limits\.maxPerApp: /),
    ])
    expect(problems({}, { app: '' })).toEqual([expect.stringMatching(/^1\.app: /)])
  })

  it('do not take a policy that contradicts the rest', () => {
    expect(publish({ policy: 'credentials' })).toEqual(['0.publish.policy: needs `keys` or `jwt`'])
    for (const policy of ['open', 'deny']) {
      expect(publish({ policy, keys: ['a'] })).toEqual(['0.publish.policy: has no use for `keys` and `jwt`'])
    }
    expect(publish({ policy: 'credentials', keys: ['a'] })).toEqual([])
  })

  it('do not take tokens without keys to check them, or algorithms that none of them is for', () => {
    expect(jwt({})).toEqual(['0.publish.jwt.secrets: needs `secrets`, `publicKeys` or `jwksUrl`'])
    expect(jwt({ secrets: [secret], algorithms: ['HS256', 'RS256'] })).toEqual([
      '0.publish.jwt.algorithms.1: needs `publicKeys` or `jwksUrl`',
    ])
    expect(jwt({ publicKeys: [pem], algorithms: ['HS256'] })).toEqual([
      '0.publish.jwt.algorithms.0: needs `secrets`',
    ])
    expect(jwt({ secrets: [secret], algorithms: ['none'] })).toHaveLength(1)
    expect(jwt({ publicKeys: [pem], algorithms: ['RS256'] })).toEqual([])
  })

  it('do not take weak keys', () => {
    expect(jwt({ secrets: ['short'] })[0]).toMatch(/at least 32 characters/)
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
    expect(jwt({ publicKeys: [small.export({ type: 'spki', format: 'pem' })] })).toEqual([
      '0.publish.jwt.publicKeys.0: must have at least 2048 bits, not 1024',
    ])
    const koblitz = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey
    expect(jwt({ publicKeys: [koblitz.export({ type: 'spki', format: 'pem' })] })[0]).toMatch(/P-256/)
    const exchange = generateKeyPairSync('x25519').publicKey
    expect(jwt({ publicKeys: [exchange.export({ type: 'spki', format: 'pem' })] })[0]).toMatch(/not x25519/)
  })

  it('do not repeat a private key that was pasted', () => {
    const pasted = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    expect(jwt({ publicKeys: [pasted] })).toEqual([
      '0.publish.jwt.publicKeys.0: is a private key, which must stay with who signs',
    ])
    expect(jwt({ publicKeys: ['garbage'] })).toEqual([
      '0.publish.jwt.publicKeys.0: must be a public key or a certificate in PEM form',
    ])
  })

  it('do not take hooks that are not there, or with a password in the URL', () => {
    expect(problems({ hooks: { onConnect: ['http://127.0.0.1/'] } })[0]).toMatch(/onConnect/)
    expect(problems({ hooks: { onPlay: ['ftp://127.0.0.1/'] } })[0]).toMatch(/^0\.hooks\.onPlay\.0: /)
    expect(problems({ hooks: { onPlay: ['http://u:p@127.0.0.1/'] } })).toEqual([
      '0.hooks.onPlay.0: must not hold a user or password',
    ])
  })
})
