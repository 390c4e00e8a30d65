import { describe, expect, it } from 'vitest'
import { ConfigError } from './errors.ts'
import { parseConfig } from './load.ts'

const listener = { name: 'udp', transport: 'udp', listen: '3478' }
const tls = { name: 'tls', transport: 'tls', listen: '5349', certFile: 'a.pem', keyFile: 'a.key' }
const secret = 'zebra-crossing'

function parse(turn: object) {
  return parseConfig('sluice.json', JSON.stringify({ turn })).turn
}

function problems(turn: object) {
  try {
    parse(turn)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ key, message }) => `${key}: ${message}`)
    throw error
  }
  throw new Error('the section was accepted')
}

describe('the [turn] section', () => {
  it('is off without listeners', () => {
    expect(parse({})).toMatchObject({ listeners: [], realm: 'sluice', mobility: true, security: 'none' })
  })

  it('fills in what a short one leaves out', () => {
    const [only] = parse({ listeners: [listener] }).listeners
    expect(only).toEqual({
      ...listener,
      relayTransports: ['udp', 'tcp'],
      proxyProtocolFrom: [],
      sharedWithHttp: false,
      strictChannels: false,
    })
  })

  it('takes a listener of each transport', () => {
    const dtls = { ...tls, name: 'dtls', transport: 'dtls' }
    const tcp = { ...listener, name: 'tcp', transport: 'tcp', proxyProtocolFrom: ['10.0.0.0/8'] }
    expect(parse({ listeners: [listener, tcp, tls, dtls] }).listeners).toHaveLength(4)
  })

  it.for([
    ['tls', 'certFile', { certFile: undefined }],
    ['tls', 'keyFile', { keyFile: undefined }],
    ['dtls', 'certFile', { certFile: undefined }],
    ['dtls', 'keyFile', { keyFile: undefined }],
  ] as const)('refuses %s without %s', ([transport, key, without]) => {
    expect(problems({ listeners: [listener, { ...tls, transport, ...without }] })).toEqual([
      `turn.listeners[1].${key}: transport "${transport}" needs a certificate and its key`,
    ])
  })

  it.for(['udp', 'tcp'])('refuses a certificate for %s, where nobody would be shown it', (transport) => {
    expect(problems({ listeners: [{ ...tls, transport }] })).toEqual([
      `turn.listeners[0].certFile: transport "${transport}" has no certificate`,
      `turn.listeners[0].keyFile: transport "${transport}" has no certificate`,
    ])
  })

  it.for(['udp', 'dtls'])('refuses for %s what only streams have', (transport) => {
    const files = transport === 'dtls' ? { certFile: 'a', keyFile: 'b' } : {}
    const only = { ...listener, transport, ...files, proxyProtocolFrom: ['10.0.0.1'], sharedWithHttp: true }
    expect(problems({ listeners: [only] })).toEqual([
      expect.stringContaining('turn.listeners[0].proxyProtocolFrom: '),
      expect.stringContaining('turn.listeners[0].sharedWithHttp: '),
    ])
  })

  it('refuses two listeners of one name, and says where the second stands', () => {
    const text =
      '[[turn.listeners]]\nname = "a"\ntransport = "udp"\nlisten = "1"\n\n[[turn.listeners]]\nname = "a"\ntransport = "tcp"\nlisten = "2"\n'
    expect(() => parseConfig('sluice.toml', text)).toThrow(
      'sluice.toml:7: turn.listeners[1].name = "a": each listener must have its own',
    )
  })

  it('refuses two relays of one family, and an advertised address of the other', () => {
    expect(problems({ relays: [{ address: '10.0.0.1' }, { address: '10.0.0.2' }] })).toEqual([
      'turn.relays[1].address: there is one of IPv4 already',
    ])
    expect(problems({ relays: [{ address: '10.0.0.1', advertised: '2001:db8::1' }] })).toEqual([
      'turn.relays[0].advertised: must be of the family of `address`, 10.0.0.1',
    ])
    const own = { ...listener, relays: [{ address: '::1', ports: { from: 3000, to: 2000 } }] }
    expect(problems({ listeners: [own] })).toEqual([
      'turn.listeners[0].relays[0].ports.to: must not be less than `from`, 3000',
    ])
  })

  it('refuses a user with both or neither of password and key', () => {
    const users = [{ username: 'a' }, { username: 'b', password: 'p', key: 'k' }]
    expect(problems({ credentials: { users } })).toEqual([
      'turn.credentials.users[0].password: a user has either a password or a key',
      'turn.credentials.users[1].key: a user has either a password or a key',
    ])
  })

  it('refuses a longest lifetime that is shorter than the usual one', () => {
    expect(problems({ limits: { lifetimeSeconds: 900, maxLifetimeSeconds: 600 } })).toEqual([
      'turn.limits.maxLifetimeSeconds: must not be less than `lifetimeSeconds`, 900',
    ])
  })

  it('refuses a rate of bytes under which no datagram would fit', () => {
    expect(problems({ limits: { bytesPerSecond: 1000 } })).toEqual([
      'turn.limits.bytesPerSecond: must be 0 (no limit) or at least 65536',
    ])
    expect(parse({ limits: { bytesPerSecond: 65_536 } }).limits.bytesPerSecond).toBe(65_536)
  })

  it('says what a rule may be', () => {
    expect(problems({ peers: { allow: [{ from: '10.0.0.0/8' }] } })).toEqual([
      expect.stringMatching(/^turn\.peers\.allow\[0\]: must be a text such as 10\.0\.0\.0\/8, or a table/),
    ])
  })

  it.for([
    ['a password', { credentials: { users: [{ username: 'u', password: [secret] }] } }],
    ['a key', { credentials: { users: [{ username: 'u', key: { hex: secret } }] } }],
    [
      'the password of a user who has a key too',
      { credentials: { users: [{ username: 'u', password: secret, key: secret }] } },
    ],
    ['the users', { credentials: { users: `u:${secret}` } }],
    ['all credentials', { credentials: secret }],
    ['one of the secrets', { credentials: { secrets: ['north', [secret]] } }],
    ['a key of OAuth', { credentials: { oauth: { serverName: 's', keys: [{ kid: 'k', key: [secret] }] } } }],
    ['the token of the webhook', { credentials: { webhook: { url: 'http://a', token: [secret] } } }],
    ['the secret of nonces', { secret: [secret] }],
    ['the token of events', { events: { url: 'http://a', token: [secret] } }],
  ] as const)('never shows %s in an error', ([, turn]) => {
    const text = JSON.stringify({ turn })
    const refused = expect.objectContaining({ message: expect.not.stringContaining(secret) })
    expect(() => parseConfig('a.json', text)).toThrow(refused)
    expect(() => parseConfig('a.json', text)).toThrow(ConfigError)
  })
})
