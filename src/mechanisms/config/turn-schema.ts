import { isIP } from 'node:net'
import { z } from 'zod'
import { parseListenText } from '../net/index.ts'
import { address, cidr, LIST_MAX, listenText, seconds, secret } from './fields.ts'
import type { TurnConfig } from './turn-config.ts'

/** The `[turn]` section of `sluice.toml`. */

const rule = z.union(
  [
    z.string().min(1).max(300),
    z.strictObject({
      to: z.string().min(1).max(300).describe('Address, CIDR range or DNS name, with or without ports.'),
      protocol: z.enum(['udp', 'tcp']).optional().describe('Absent: both.'),
    }),
  ],
  {
    error:
      'must be a text such as 10.0.0.0/8, or a table with `to` and, if need be, `protocol` ("udp", "tcp")',
  },
)

const peersShape = z.strictObject({
  byDefault: z
    .enum(['public', 'none'])
    .default('public')
    .describe(
      '`public`: every peer on the public internet; private, local and special ranges are not. `none`: only what `allow` names.',
    ),
  allow: z
    .array(rule)
    .max(1024)
    .default([])
    .describe(
      'Peers that may be reached whatever else says: `10.0.0.0/8`, with ports `10.0.0.0/8:<1000-2000>`, a DNS name that is resolved again and again, or a table with `to` and `protocol`.',
    ),
  deny: z
    .array(rule)
    .max(1024)
    .default([])
    .describe('Peers that may not be reached unless `allow` names them.'),
})

const relay = z.strictObject({
  address: address.describe(
    'Where relay sockets are bound. `0.0.0.0` and `::` stand for the address from which the machine reaches the internet.',
  ),
  advertised: address.optional().describe('What clients are told instead, behind 1:1 NAT.'),
  ports: z
    .strictObject({
      from: z.int().min(1024).max(65_535).default(49_152).describe('The lowest port.'),
      to: z.int().min(1024).max(65_535).default(65_535).describe('The highest port.'),
    })
    .check(({ value: { from, to }, issues }) => {
      if (from > to) issues.push(custom(['to'], to, `must not be less than \`from\`, ${from}`))
    })
    .prefault({}),
})

const relays = z
  .array(relay)
  .min(1)
  .max(2)
  .check(({ value, issues }) => {
    const families = new Set<number>()
    for (const [index, { address, advertised = address }] of value.entries()) {
      const family = isIP(address)
      if (isIP(advertised) !== family) {
        issues.push(
          custom([index, 'advertised'], advertised, `must be of the family of \`address\`, ${address}`),
        )
      }
      if (families.has(family))
        issues.push(custom([index, 'address'], address, `there is one of IPv${family} already`))
      families.add(family)
    }
  })

const listener = z
  .strictObject({
    name: z.string().min(1).max(64).describe('Names the listener in logs, metrics and events; unique.'),
    transport: z.enum(['udp', 'tcp', 'tls', 'dtls']).describe('How clients come.'),
    listen: listenText.describe('Usually 3478, for `tls` and `dtls` 5349, or 443.'),
    certFile: z
      .string()
      .min(1)
      .optional()
      .describe('Certificate chain (PEM) of `tls` and `dtls`. Read again when it changes.'),
    keyFile: z.string().min(1).optional().describe('Its key.'),
    relays: relays.optional().describe('Relayed addresses of this listener. Absent: `turn.relays`.'),
    peers: peersShape.optional().describe('Rules about peers of this listener. Absent: `turn.peers`.'),
    relayTransports: z
      .array(z.enum(['udp', 'tcp']))
      .min(1)
      .default(['udp', 'tcp'])
      .describe('What clients may have relayed: datagrams, TCP connections (RFC 6062).'),
    proxyProtocolFrom: z
      .array(cidr)
      .max(LIST_MAX)
      .default([])
      .describe(
        'Balancers whose PROXY protocol header (v1, v2) says who the client is. Only `tcp` and `tls`.',
      ),
    sharedWithHttp: z
      .boolean()
      .default(false)
      .describe(
        'Serves HTTP (WHIP, WHEP, HTTP-FLV, pages) on the same port, told apart by ALPN and first bytes. Only `tcp` and `tls`.',
      ),
    strictChannels: z
      .boolean()
      .default(false)
      .describe('Refuses channel numbers over 0x4FFF, which older clients use.'),
  })
  .check(({ value, issues }) => {
    const { transport, proxyProtocolFrom, sharedWithHttp } = value
    const isSecure = transport === 'tls' || transport === 'dtls'
    for (const key of ['certFile', 'keyFile'] as const) {
      if (isSecure && value[key] === undefined) {
        issues.push(custom([key], undefined, `transport "${transport}" needs a certificate and its key`))
      }
      if (!isSecure && value[key] !== undefined) {
        issues.push(custom([key], value[key], `transport "${transport}" has no certificate`))
      }
    }
    if (transport === 'tcp' || transport === 'tls') return
    if (proxyProtocolFrom.length > 0) {
      const message = `transport "${transport}" has no PROXY protocol, only "tcp" and "tls" have`
      issues.push(custom(['proxyProtocolFrom'], proxyProtocolFrom, message))
    }
    if (sharedWithHttp) {
      const message = `transport "${transport}" cannot be shared with HTTP, only "tcp" and "tls" can`
      issues.push(custom(['sharedWithHttp'], sharedWithHttp, message))
    }
  })

const user = z
  .strictObject({
    username: z.string().min(1).max(508).describe('The name.'),
    password: secret.optional().describe('The password; or `key`.'),
    key: secret
      .optional()
      .describe(
        'Instead of a password: the hash of `username:realm:password` in hexadecimal, MD5 or SHA-256.',
      ),
    maxAllocations: z
      .int()
      .min(0)
      .optional()
      .describe('Allocations at a time, 0 for any number. Absent: `turn.limits.maxPerUser`.'),
  })
  .check(({ value: { password, key }, issues }) => {
    if ((password === undefined) === (key === undefined)) {
      const both = password !== undefined
      issues.push(custom([both ? 'key' : 'password'], undefined, 'a user has either a password or a key'))
    }
  })

const credentials = z
  .strictObject({
    users: z.array(user).max(100_000).default([]).describe('Users with a password of their own.'),
    secrets: z
      .array(secret)
      .max(8)
      .default([])
      .describe(
        'Secrets of time-limited credentials (`<unix time>:<user>`); the first makes new ones, all are taken, so that they can be changed one after the other.',
      ),
    separator: z
      .string()
      .length(1)
      .default(':')
      .describe('What stands between time and user in such a name.'),
    strict: z
      .boolean()
      .default(false)
      .describe(
        'Whether allocations end when the time-limited credential does; otherwise they may be refreshed on.',
      ),
    ttlSeconds: z
      .int()
      .min(1)
      .max(31_536_000)
      .default(86_400)
      .describe('How long credentials are good that Sluice hands out.'),
    oauth: z
      .strictObject({
        serverName: z.string().min(1).max(255).describe('This server as authorization servers know it.'),
        keys: z
          .array(
            z.strictObject({
              kid: z.string().min(1).max(508).describe('Names the key.'),
              key: secret.describe('16 or 32 bytes in base64: AES-128-GCM, AES-256-GCM.'),
            }),
          )
          .min(1)
          .max(64)
          .describe('Keys that tokens are under; a token names the one.'),
      })
      .optional()
      .describe('Access tokens (RFC 7635).'),
    webhook: z
      .strictObject({
        url: z
          .url({ protocol: /^https?$/ })
          .describe('Is asked by POST who a client could be. See docs/turn-credentials.md.'),
        token: secret.optional().describe('Bearer token that goes with each question.'),
        timeoutSeconds: seconds.default(2).describe('A client whose answer takes longer gets 500.'),
        rememberSeconds: z
          .number()
          .min(0)
          .max(86_400)
          .default(30)
          .describe('How long an answer is remembered.'),
      })
      .optional()
      .describe('Users that another service knows.'),
  })
  .prefault({})

const count = (least: number, by: number, text: string) => z.int().min(least).default(by).describe(text)
const rate = (by: number, text: string) => z.number().min(0).default(by).describe(text)
const byteRate = (text: string) =>
  z
    .number()
    .min(0)
    .refine((value) => value === 0 || value >= 65_536, { error: 'must be 0 (no limit) or at least 65536' })
    .default(0)
    .describe(text)

const limits = z
  .strictObject({
    maxPerUser: count(0, 64, 'Allocations of one user; further ones get 486. 0: no limit.'),
    maxPerAddress: count(
      0,
      256,
      'Allocations from one client address (IPv6: /64); further ones get 508. 0: no limit.',
    ),
    maxAllocations: count(1, 100_000, 'Allocations in all; further ones get 508.'),
    maxPermissions: count(1, 256, 'Peer addresses of an allocation; further ones get 508.'),
    maxChannels: count(1, 256, 'Channels of an allocation; further ones get 508.'),
    maxPeerConnections: count(
      1,
      32,
      'TCP connections of an allocation to peers (RFC 6062); further ones get 508.',
    ),
    newPeersPerSecond: rate(
      5,
      "New peer addresses per second of an allocation, 20 seconds' worth at once; further ones get 508. 0: no limit.",
    ),
    packetsPerSecond: rate(
      20_000,
      'Packets per second of an allocation, both ways together; further ones are dropped. 0: no limit.',
    ),
    bytesPerSecond: byteRate(
      'Bytes per second of an allocation, both ways together; what is over it is dropped, of TCP it waits. 0: no limit.',
    ),
    userBytesPerSecond: byteRate('The same of all allocations of a user.'),
    totalBytesPerSecond: byteRate('The same of all.'),
    lifetimeSeconds: count(
      1,
      600,
      'How long an allocation lives that is not refreshed, and the least a client may ask for.',
    ),
    maxLifetimeSeconds: count(1, 3600, 'The most a client may ask for.'),
    nonceSeconds: count(1, 600, 'How long a nonce is good.'),
    maxConnections: count(1, 20_000, 'TCP and TLS connections of clients; further ones are closed at once.'),
    maxConnectionsPerAddress: count(1, 256, 'The same for one client address (IPv6: /64).'),
    idleSeconds: count(1, 30, 'A TCP connection without an allocation is closed after so long.'),
    maxClientQueueBytes: count(
      4096,
      262_144,
      'Bytes that wait for a TCP client that does not read; data on top is dropped.',
    ),
    strangerRepliesPerSecond: rate(
      200,
      'Answers per second to clients of which nothing is proved, per IPv4 /24 or IPv6 /56. 0: no limit.',
    ),
    totalStrangerRepliesPerSecond: rate(20_000, 'The same for all together.'),
    attemptsPerSecond: rate(
      100,
      "Requests with credentials per second from one address (IPv6: /64) that has no allocation to go with them, two seconds' worth at once; further ones get no answer. 0: no limit.",
    ),
  })
  .check(({ value: { lifetimeSeconds, maxLifetimeSeconds }, issues }) => {
    if (maxLifetimeSeconds >= lifetimeSeconds) return
    const message = `must not be less than \`lifetimeSeconds\`, ${lifetimeSeconds}`
    issues.push(custom(['maxLifetimeSeconds'], maxLifetimeSeconds, message))
  })
  .prefault({})

export const turnSchema: z.ZodType<TurnConfig> = z
  .strictObject({
    listeners: z
      .array(listener)
      .max(64)
      .default([])
      .describe('Ports on which TURN clients are served. None: no TURN server.'),
    realm: z
      .string()
      .min(1)
      .max(127)
      .default('sluice')
      .describe('The realm of its users. A short one keeps challenges small.'),
    relays: relays
      .default([{ address: '0.0.0.0', ports: { from: 49_152, to: 65_535 } }])
      .describe('Where relayed addresses are, one for each family.'),
    peers: peersShape.prefault({}),
    credentials,
    uris: z
      .array(
        z.string().regex(/^(?:stun|turn)s?:\S+$/, {
          error: 'must be a URI such as turn:turn.example.com:3478?transport=udp',
        }),
      )
      .max(32)
      .default([])
      .describe('What credentials that Sluice hands out are for.'),
    mobility: z
      .boolean()
      .default(true)
      .describe('Lets clients move to another address with their allocation (RFC 8016).'),
    security: z
      .enum(['none', 'sha256', 'anonymity'])
      .default('none')
      .describe(
        'What challenges offer of RFC 8489: SHA-256, or that and hidden user names. Each makes challenges longer; browsers use neither.',
      ),
    peerAddress: z
      .string()
      .refine(isPeerAddress, {
        error: 'must be a literal address and a port (10.0.0.5:3478, [fd00::5]:3478), and no wildcard',
      })
      .optional()
      .describe(
        'Where other gateways of the fleet reach a UDP listener of this one: there they lead clients that have moved to them with an allocation that lives here (RFC 8016). Absent: the address on which the first UDP listener is bound, or of a wildcard that of its relays.',
      ),
    secret: secret
      .optional()
      .describe(
        "Keys nonces and mobility tickets, so that gateways with the same one take each other's. Absent: random at each start.",
      ),
    events: z
      .strictObject({
        url: z
          .url({ protocol: /^https?$/ })
          .describe('Is told by POST of allocations made, refreshed and ended.'),
        token: secret.optional().describe('Bearer token that goes with it.'),
      })
      .optional()
      .describe('A service that follows allocations. See docs/turn.md.'),
    alternateServers: z
      .array(
        z.strictObject({
          address: address.describe('The other server.'),
          port: z.int().min(1).max(65_535).default(3478).describe('Its port.'),
          domain: z
            .string()
            .min(1)
            .max(255)
            .optional()
            .describe('Its name, by which clients check its certificate (TLS, DTLS).'),
        }),
      )
      .max(64)
      .default([])
      .describe(
        'Where clients are sent instead of getting an allocation here (300, ALTERNATE-SERVER): one at random that has the family of the client. Empty: none is.',
      ),
    limits,
  })
  .check(({ value: { listeners }, issues }) => {
    const names = new Set<string>()
    for (const [index, { name }] of listeners.entries()) {
      if (names.has(name))
        issues.push(custom(['listeners', index, 'name'], name, 'each listener must have its own'))
      names.add(name)
    }
  })
  .prefault({})

/** What is wrong between keys, at the one where it can be set right. */
function custom(path: PropertyKey[], input: unknown, message: string): z.core.$ZodRawIssue {
  return { code: 'custom', path, input, message }
}

function isPeerAddress(text: string): boolean {
  const { host, port } = parseListenText(text) ?? {}
  return host !== undefined && port !== undefined && port > 0 && !/^(?:0\.0\.0\.0|::)$/.test(host)
}
