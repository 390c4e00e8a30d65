import { createPublicKey } from 'node:crypto'
import { z } from 'zod'
import { ACCESS_ALGORITHMS, type AccessAlgorithm, type AccessConfig } from './access-config.ts'
import { cidr, LIST_MAX, secret } from './fields.ts'

/** The `[[media.access]]` rules of `sluice.toml`. */

const pattern = (text: string) => z.string().min(1).max(512).default('*').describe(text)
const parameter = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[\w.~-]+$/, { error: 'must be made of letters, digits and . _ ~ -' })
const claim = z.string().min(1).max(255)

const publicKey = z
  .string()
  .max(16_384)
  .check(({ value, issues }) => {
    const message = publicKeyFault(value)
    if (message !== undefined) issues.push(custom([], undefined, message))
  })
  // Somebody will paste the private key; then it is not to be repeated.
  .meta({ secret: true })

const jwt = z
  .strictObject({
    secrets: z
      .array(secret.min(32, { error: 'must have at least 32 characters: short ones are found by trying' }))
      .max(8)
      .default([])
      .describe(
        'Secrets of tokens signed with HMAC; all are taken, so that they can be changed one after the other.',
      ),
    publicKeys: z
      .array(publicKey)
      .max(16)
      .default([])
      .describe('Public keys or certificates (PEM) of those who sign tokens: RSA, EC or Ed25519.'),
    jwksUrl: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe(
        'Where the public keys of an identity provider are (JWKS). Fetched when needed, and remembered.',
      ),
    jwksTimeoutSeconds: z
      .number()
      .positive()
      .max(60)
      .default(5)
      .describe('How long that may take. Without any keys tokens are then refused with 503.'),
    jwksMaxAgeSeconds: z
      .number()
      .min(1)
      .max(86_400)
      .default(600)
      .describe(
        'Keys older than this are fetched again. While that fails the old ones are good for a day more.',
      ),
    jwksCooldownSeconds: z
      .number()
      .min(1)
      .max(86_400)
      .default(30)
      .describe(
        'Tokens whose key is not among them make the keys be fetched again, no more often than this.',
      ),
    algorithms: z
      .array(z.enum(ACCESS_ALGORITHMS))
      .min(1)
      .max(ACCESS_ALGORITHMS.length)
      .optional()
      .describe('Signatures that are taken. Absent: all that go with the keys. `none` never is.'),
    parameter: parameter.default('token').describe('Query parameter that holds the token.'),
    issuers: z
      .array(z.string().min(1).max(1024))
      .max(16)
      .default([])
      .describe('Values of `iss`, one of which a token must have. Empty: any.'),
    audiences: z
      .array(z.string().min(1).max(1024))
      .max(16)
      .default([])
      .describe('Values of `aud`, one of which a token must have. Empty: any.'),
    requireExpiry: z.boolean().default(true).describe('Refuses tokens without `exp`.'),
    endWithToken: z
      .boolean()
      .default(true)
      .describe('Ends a session when its token expires; otherwise `exp` counts at the beginning only.'),
    clockToleranceSeconds: z
      .number()
      .min(0)
      .max(600)
      .default(10)
      .describe('How far the clock of who signs may be off.'),
    required: z
      .array(z.enum(['vhost', 'app', 'stream', 'action']))
      .max(4)
      .default(['stream', 'action'])
      .describe(
        'What a token must name. A token that leaves out one of the others is good for every value that the rule covers.',
      ),
    claims: z
      .strictObject({
        vhost: claim.default('vhost').describe('Claim with the vhost.'),
        app: claim.default('app').describe('Claim with the app.'),
        stream: claim.default('stream').describe('Claim with the stream, or `app/stream`.'),
        action: claim.default('action').describe('Claim with `publish`, `play` or `*`.'),
        permissions: claim
          .default('mediamtx_permissions')
          .describe(
            'Claim with a list of `{ action, path }`, as MediaMTX has it; stands for the other four.',
          ),
      })
      .describe('Names of claims. Each is a text or a list of texts, in which `*` stands for anything.')
      .prefault({}),
  })
  .check(({ value, issues }) => {
    const hasSecret = value.secrets.length > 0
    const hasPublicKey = value.publicKeys.length > 0 || value.jwksUrl !== undefined
    if (!hasSecret && !hasPublicKey) {
      issues.push(custom(['secrets'], undefined, 'needs `secrets`, `publicKeys` or `jwksUrl`'))
      return
    }
    for (const [index, algorithm] of (value.algorithms ?? []).entries()) {
      if (isHmac(algorithm) ? hasSecret : hasPublicKey) continue
      const missing = isHmac(algorithm) ? '`secrets`' : '`publicKeys` or `jwksUrl`'
      issues.push(custom(['algorithms', index], algorithm, `needs ${missing}`))
    }
  })

const sessions = (text: string) => z.int().min(0).max(10_000_000).default(0).describe(text)
const byteRate = (text: string) =>
  z
    .number()
    .min(0)
    .max(1e12)
    .refine((value) => value === 0 || value >= 65_536, { error: 'must be 0 (no limit) or at least 65536' })
    .default(0)
    .describe(text)

const limits = z
  .strictObject({
    maxPerApp: sessions('Sessions of an app at a time; further ones get 429. 0: no limit.'),
    maxPerStream: sessions('The same of a stream.'),
    maxPerAddress: sessions('The same of a client address (IPv6: /64), over all apps.'),
    appBytesPerSecond: byteRate(
      'Bytes per second of all sessions of an app together; streams wait, datagrams over it are dropped. 0: no limit.',
    ),
    streamBytesPerSecond: byteRate('The same of a stream.'),
    addressBytesPerSecond: byteRate('The same of a client address (IPv6: /64), over all apps.'),
    burstSeconds: z
      .number()
      .min(0.1)
      .max(60)
      .default(1)
      .describe("How many seconds' worth may go at once after a pause."),
  })
  .prefault({})

const role = z
  .strictObject({
    policy: z
      .enum(['open', 'credentials', 'deny'])
      .optional()
      .describe(
        '`open`: everybody may. `credentials`: whoever has one of `keys` or a token that `jwt` takes. `deny`: nobody may. Absent: `credentials` where there are `keys` or `jwt`, else `open`.',
      ),
    allowFrom: z
      .array(cidr)
      .max(LIST_MAX)
      .default([])
      .describe('Addresses that may. Empty: every address. Others get 403.'),
    denyFrom: z
      .array(cidr)
      .max(LIST_MAX)
      .default([])
      .describe('Addresses that may not, whatever `allowFrom` says.'),
    keys: z
      .array(secret)
      .max(LIST_MAX)
      .default([])
      .describe(
        'Keys, each of which opens: in the query, as `Authorization: Bearer`, as `key` of an SRT stream id.',
      ),
    keyParameter: parameter.default('key').describe('Query parameter that holds the key.'),
    jwt: jwt.optional().describe('Tokens that open: JSON Web Tokens.'),
    wrongPerMinute: z
      .int()
      .min(0)
      .max(100_000)
      .default(30)
      .describe(
        'Wrong keys and tokens of one address (IPv6: /64) in a minute; then it gets 429 unless it comes with what was right before. 0: no limit.',
      ),
    limits,
  })
  .check(({ value: { policy, keys, jwt: tokens }, issues }) => {
    const has = keys.length > 0 || tokens !== undefined
    if (policy === 'credentials' && !has) {
      issues.push(custom(['policy'], policy, 'needs `keys` or `jwt`'))
    }
    if ((policy === 'open' || policy === 'deny') && has) {
      issues.push(custom(['policy'], policy, 'has no use for `keys` and `jwt`'))
    }
  })
  .prefault({})

const hookUrls = (text: string) =>
  z
    .array(
      z
        .url({ protocol: /^https?$/ })
        .check(({ value, issues }) => {
          if (!URL.canParse(value)) return
          const { username, password } = new URL(value)
          if (username === '' && password === '') return
          issues.push(custom([], undefined, 'must not hold a user or password'))
        })
        // Their queries hold passwords now and then.
        .meta({ secret: true }),
    )
    .max(8)
    .default([])
    .describe(text)

const hooks = z
  .strictObject({
    onPublish: hookUrls('Asked by POST when somebody wants to publish, as SRS does; all must agree.'),
    onUnpublish: hookUrls('Told when that is over.'),
    onPlay: hookUrls('Asked when somebody wants to play; all must agree.'),
    onStop: hookUrls('Told when that is over.'),
    timeoutSeconds: z
      .number()
      .positive()
      .max(60)
      .default(5)
      .describe('How long each answer may take; then the server counts as away.'),
    whenAway: z
      .enum(['deny', 'allow'])
      .default('deny')
      .describe(
        'What holds when a server that is asked cannot be reached, is too slow or answers 502, 503 or 504: `deny` (503), or `allow`.',
      ),
  })
  .prefault({})

const rule = z.strictObject({
  vhost: pattern(
    'Vhosts that the rule is for. `__defaultVhost__` is the one of hosts that are not listed in `routing.vhosts`.',
  ),
  app: pattern('Apps that it is for.'),
  stream: pattern('Streams that it is for.'),
  publish: role.describe('Who may publish.'),
  play: role.describe('Who may play.'),
  hooks: hooks.describe('HTTP callbacks in the format of SRS. See docs/access.md.'),
})

const someRules: z.ZodType<AccessConfig> = z.array(rule).max(LIST_MAX)

export const accessSchema: z.ZodDefault<z.ZodType<AccessConfig>> = someRules
  .default([])
  .describe(
    'Who may publish and play. The first rule whose vhost, app and stream match holds (`*` stands for anything); a stream that none matches is refused. No rules: everybody may.',
  )

/** Whether the signature is made with a secret. */
function isHmac(algorithm: AccessAlgorithm): boolean {
  return algorithm.startsWith('HS')
}

function publicKeyFault(pem: string): string | undefined {
  if (pem.includes('PRIVATE KEY')) return 'is a private key, which must stay with who signs'
  try {
    const { asymmetricKeyType = '', asymmetricKeyDetails } = createPublicKey(pem)
    if (!['rsa', 'rsa-pss', 'ec', 'ed25519'].includes(asymmetricKeyType)) {
      return `must be an RSA, EC or Ed25519 key, not ${asymmetricKeyType}`
    }
    const { modulusLength = 2048, namedCurve = 'prime256v1' } = asymmetricKeyDetails ?? {}
    if (modulusLength < 2048) return `must have at least 2048 bits, not ${modulusLength}`
    if (!['prime256v1', 'secp384r1', 'secp521r1'].includes(namedCurve)) {
      return `must be on the curve P-256, P-384 or P-521, not ${namedCurve}`
    }
    return undefined
  } catch {
    return 'must be a public key or a certificate in PEM form'
  }
}

/** What is wrong between keys, at the one where it can be set right. */
function custom(path: PropertyKey[], input: unknown, message: string): z.core.$ZodRawIssue {
  return { code: 'custom', path, input, message }
}
