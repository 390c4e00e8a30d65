import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../../mechanisms/config/index.ts'
import type { Environment } from './config.ts'
import { readStunnerdConfig } from './read-config.ts'
import { testCertificate } from './stunnerd.testkit.ts'

function read(text: string, env: Environment = {}) {
  return readStunnerdConfig('stunnerd.yaml', text, env)
}

function failure(text: string, env: Environment = {}): string {
  try {
    read(text, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  throw new Error('the configuration was accepted')
}

const AUTH = 'auth: {credentials: {username: u, password: p}}'

describe('a stunnerd configuration', () => {
  it('has the defaults of STUNner', () => {
    const { config, notes } = read(`version: v1\n${AUTH}\nlisteners: [{name: l}]\nclusters: [{name: c}]`)
    expect(config).toEqual({
      admin: {
        name: 'default-stunnerd',
        logLevel: 'all:INFO',
        metricsEndpoint: '',
        healthcheckEndpoint: 'http://:8086',
        userQuota: 0,
        offloadEngine: 'None',
        offloadInterfaces: [],
        hasLicense: false,
      },
      auth: { type: 'static', realm: 'stunner.l7mp.io', username: 'u', password: 'p' },
      listeners: [{ name: 'l', protocol: 'TURN-UDP', address: '0.0.0.0', port: 3478, routes: [] }],
      clusters: [{ name: 'c', type: 'STATIC', protocol: 'udp', endpoints: [] }],
    })
    expect(notes).toEqual([])
  })

  it('reads every key, from JSON too', () => {
    const { cert, key } = testCertificate
    const { config } = read(
      JSON.stringify({
        version: 'v1',
        admin: {
          name: 'ns/gw',
          loglevel: 'all:WARN,turn:DEBUG',
          metrics_endpoint: 'http://0.0.0.0:8080/metrics',
          healthcheck_endpoint: '',
          user_quota: -3,
          offload_engine: 'xdp',
          offload_interfaces: ['eth1', 'eth0'],
          license_config: { key: 'k', hmac: 'h' },
        },
        auth: { type: 'ephemeral', realm: 'r', credentials: { secret: 's' } },
        listeners: [
          {
            name: 'tls',
            protocol: 'turn-tls',
            address: '10.0.0.1',
            port: 5349,
            public_address: '198.51.100.1',
            public_port: 443,
            cert: Buffer.from(cert).toString('base64'),
            key: Buffer.from(key).toString('base64'),
            routes: ['b', 'a', 'b'],
          },
        ],
        clusters: [
          { name: 'a', type: 'strict_dns', protocol: 'TCP', endpoints: ['media.default.svc.cluster.local'] },
          { name: 'b', endpoints: ['10.1.0.0/16:<1000-2000>', '10.0.0.1'] },
        ],
      }),
    )
    expect(config.admin).toEqual({
      name: 'ns/gw',
      logLevel: 'all:WARN,turn:DEBUG',
      metricsEndpoint: 'http://0.0.0.0:8080/metrics',
      healthcheckEndpoint: '',
      userQuota: 0,
      offloadEngine: 'XDP',
      offloadInterfaces: ['eth0', 'eth1'],
      hasLicense: true,
    })
    expect(config.auth).toEqual({ type: 'ephemeral', realm: 'r', secret: 's' })
    expect(config.listeners).toEqual([
      {
        name: 'tls',
        protocol: 'TURN-TLS',
        address: '10.0.0.1',
        port: 5349,
        publicAddress: '198.51.100.1',
        publicPort: 443,
        certificate: { cert, key },
        routes: ['a', 'b'],
      },
    ])
    expect(config.clusters).toEqual([
      { name: 'a', type: 'STRICT_DNS', protocol: 'tcp', endpoints: ['media.default.svc.cluster.local'] },
      { name: 'b', type: 'STATIC', protocol: 'udp', endpoints: ['10.0.0.1', '10.1.0.0/16:<1000-2000>'] },
    ])
  })

  it('takes every name of a protocol in any case', () => {
    for (const protocol of ['UDP', 'tcp', 'Turn-Udp', 'TURN-TCP']) {
      const { config } = read(`version: v1\n${AUTH}\nlisteners: [{name: l, protocol: ${protocol}}]`)
      expect(config.listeners[0]?.protocol).toBe(protocol.toUpperCase())
    }
  })

  it('takes the older names of auth types', () => {
    const { config } = read('version: v1\nauth: {type: longterm, credentials: {secret: s}}')
    expect(config.auth.type).toBe('ephemeral')
    expect(read(`version: v1\n${AUTH.replace('{cred', '{type: plaintext, cred')}`).config.auth.type).toBe(
      'static',
    )
    expect(read('version: v1\nauth: {type: none}').config.auth.type).toBe('none')
  })

  it('takes v1alpha1 with its relay ports, flat and in a table of its own', () => {
    const inner = `auth: {type: plaintext, credentials: {username: u, password: p}}
listeners: [{name: l, min_relay_port: 10000, max_relay_port: 20000}]`
    const flat = read(`version: v1alpha1\n${inner}`).config
    const nested = read(`version: v1alpha1\nstatic:\n  ${inner.replace('\n', '\n  ')}`).config
    expect(flat.listeners[0]?.relayPorts).toEqual({ from: 10_000, to: 20_000 })
    expect(nested).toEqual(flat)
  })

  it('puts variables in their places, unquoted ones as numbers', () => {
    const text = `version: v1\n${AUTH}
admin: {loglevel: $NONE, name: "\${NS}/gw"}
listeners:
  - {name: a, address: "$STUNNER_ADDR", port: $STUNNER_PORT}
  - {name: b, address: $STUNNER_ADDR, port: $PORT}`
    const { config } = read(text, { STUNNER_ADDR: '10.2.3.4', PORT: '5000', NS: 'prod' })
    expect(config.admin).toMatchObject({ logLevel: 'all:INFO', name: 'prod/gw' })
    expect(config.listeners).toMatchObject([
      { address: '10.2.3.4', port: 3478 },
      { address: '10.2.3.4', port: 5000 },
    ])
    expect(read(text, { STUNNER_PUBLIC_PORT: '443' }).config.listeners[0]).toMatchObject({
      address: '0.0.0.0',
      port: 443,
    })
  })

  it('may use anchors, aliases and merges', () => {
    const { config } = read(
      `version: v1\n${AUTH}\nlisteners:\n  - &base {name: a, Port: $PORT, routes: [c]}\n  - {<<: *base, name: b}`,
      { PORT: '5000' },
    )
    expect(config.listeners).toMatchObject([
      { name: 'a', port: 5000, routes: ['c'] },
      { name: 'b', port: 5000, routes: ['c'] },
    ])
  })

  it('leaves dollar signs in credentials alone, unless the whole is the name of a variable that is set', () => {
    const credentials = (text: string) =>
      read(`version: v1\nauth: {credentials: ${text}}`, { USER_NAME: 'ann', word: 'no' }).config.auth
    expect(credentials(`{username: $USER_NAME, password: 'pa$word'}`)).toMatchObject({
      username: 'ann',
      password: 'pa$word',
    })
    expect(credentials(`{username: $UNSET, password: '$'}`)).toMatchObject({
      username: '$UNSET',
      password: '$',
    })
  })

  it('takes the address of the node from STUNNER_ADDR, and says so where it cannot', () => {
    const text = `version: v1\n${AUTH}\nlisteners: [{name: l, address: __node_address_placeholder, public_address: __node_address_placeholder}]`
    expect(read(text, { STUNNER_ADDR: '10.9.9.9' }).config.listeners[0]?.address).toBe('10.9.9.9')
    expect(failure(text)).toMatch(/listeners\[0\]\.address = "__node_address_placeholder": .*STUNNER_ADDR/)
  })

  it('finds keys in any case and passes over those it does not know', () => {
    const { config, notes } = read(
      `version: v1\nadmin: {logLevel: "all:DEBUG", realm: x}\n${AUTH}\nlisteners: [{name: l, colour: red}]\nfuture: {a: 1}`,
    )
    expect(config.admin.logLevel).toBe('all:DEBUG')
    expect(notes).toEqual([
      'admin.realm: unknown key, passed over',
      'listeners[0].colour: unknown key, passed over',
      'future: unknown key, passed over',
    ])
  })

  it('keeps the case of credential names', () => {
    expect(failure('version: v1\nauth: {credentials: {Username: u, password: p}}')).toContain(
      'auth.credentials.username',
    )
  })

  it('notes routes that lead nowhere and levels that are none', () => {
    const { notes } = read(
      `version: v1\n${AUTH}\nadmin: {loglevel: "all:LOUD"}\nlisteners: [{name: l, routes: [gone]}]`,
    )
    expect(notes).toHaveLength(2)
    expect(notes[0]).toContain('"all:LOUD"')
    expect(notes[1]).toContain('route "gone"')
  })

  it('names file, line, key, value and what is allowed', () => {
    expect(failure(`version: v1\n${AUTH}\nlisteners:\n  - name: l\n    protocol: QUIC`)).toBe(
      'stunnerd.yaml:5: listeners[0].protocol = "QUIC": must be one of UDP, TCP, TLS, DTLS, TURN-UDP, TURN-TCP, TURN-TLS, TURN-DTLS (case does not matter)',
    )
    expect(failure(`version: v2\n${AUTH}`)).toMatch(/^stunnerd\.yaml:1: version = "v2": .*"v1".*"v1alpha1"/)
    expect(failure(`version: v1\n${AUTH}\nclusters: [{name: c, endpoints: ["10.0.0.0/33"]}]`)).toMatch(
      /^stunnerd\.yaml:3: clusters\[0\]\.endpoints\[0\] = "10\.0\.0\.0\/33": must be an address or a range/,
    )
    expect(failure(`version: v1\n${AUTH}\nclusters: [{name: c, endpoints: [media.example.org]}]`)).toContain(
      'must be an address or a range, optionally with ports, as in 10.0.0.0/8:<1000-2000>',
    )
    expect(failure(`version: v1\n${AUTH}\nlisteners: [{name: l}, {name: l}]`)).toContain(
      'listeners[1].name = "l": must be unique',
    )
    expect(failure(`version: v1\n${AUTH}\nlisteners: [{name: l, port: 70000}]`)).toContain(
      'listeners[0].port = 70000',
    )
    expect(failure(`version: v1\n${AUTH}\nadmin: {healthcheck_endpoint: "tcp://:80"}`)).toContain(
      'admin.healthcheck_endpoint = "tcp://:80": must be empty (off), or http://address:port/path',
    )
    expect(failure(`version: v1\n${AUTH}\nadmin: {offload_engine: DPDK}`)).toContain(
      'must be one of None, XDP, TC, Auto',
    )
    expect(failure('version: v1\nauth: {type: kerberos}')).toContain('must be one of static, plaintext')
    expect(failure('version: v1\nlisteners: [')).toMatch(/^stunnerd\.yaml:2: /)
  })

  it('tells of missing credentials, certificates and keys without their values', () => {
    expect(failure('version: v1')).toBe(
      'stunnerd.yaml: auth.credentials.username: must have 1 to 4096 characters; auth type "static" needs it\n' +
        'stunnerd.yaml: auth.credentials.password: must have 1 to 4096 characters; auth type "static" needs it',
    )
    const secret = Buffer.from('-----BEGIN nothing').toString('base64')
    const bad = failure(
      `version: v1\n${AUTH}\nlisteners: [{name: l, protocol: tls, cert: my.cert, key: ${secret}}]`,
    )
    expect(bad).toContain('listeners[0].cert: must be a PEM text in base64')
    expect(bad).not.toContain(secret)
    const mismatch = failure(
      `version: v1\n${AUTH}\nlisteners: [{name: l, protocol: tls, cert: ${secret}, key: ${secret}}]`,
    )
    expect(mismatch).toContain('listeners[0].cert: certificate and key cannot be read')
    expect(failure('version: v1\nauth: {credentials: {username: u, password: [hidden]}}')).not.toContain(
      'hidden',
    )
  })

  it('never fails in another way, whatever the text', () => {
    const words = [
      'version: v1\n',
      'listeners:\n',
      '  - name: x\n',
      'auth: {',
      '}',
      '$A',
      '*a',
      '&a ',
      '- ',
      ': ',
      '[',
      '"',
    ]
    const text = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 8 })), { maxLength: 20 })
    fc.assert(
      fc.property(text, (parts) => {
        try {
          read(parts.join(''), { A: 'x: [1' })
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError)
        }
      }),
    )
  })
})
