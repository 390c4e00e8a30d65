import { describe, expect, it } from 'vitest'
import { configJson, definitionJson } from './config-json.ts'
import { proxyConfigOf, visitorConfigOf } from './load.ts'

const proxies = [
  { name: 'a', type: 'tcp', localPort: 22, remotePort: 6000 },
  { name: 'b', type: 'udp', transport: { bandwidthLimit: '1MB', bandwidthLimitMode: 'server' } },
  {
    name: 'c',
    type: 'http',
    customDomains: ['c.example'],
    locations: ['/', '/x'],
    httpUser: 'u',
    httpPassword: 'p',
    requestHeaders: { set: { a: 'b' } },
    healthCheck: { type: 'http', path: '/health', httpHeaders: [{ name: 'x', value: 'y' }] },
    annotations: { note: 'n' },
    metadatas: { m: '1' },
  },
  { name: 'd', type: 'https', subdomain: 'd', loadBalancer: { group: 'g', groupKey: 'k' } },
  { name: 'e', type: 'tcpmux', subdomain: 'e', multiplexer: 'httpconnect', routeByHTTPUser: 'r' },
  { name: 'f', type: 'stcp', secretKey: 's', allowUsers: ['*'] },
  { name: 'g', type: 'sudp', transport: { proxyProtocolVersion: 'v2', useEncryption: true } },
]

describe('JSON of proxies and visitors', () => {
  it.each(proxies)('gives the same $type proxy back', (raw) => {
    const config = proxyConfigOf(raw)
    expect(proxyConfigOf(configJson(config))).toEqual(config)
  })

  it('is that of frp', () => {
    // As frpc 0.70.1 answers /api/proxy/a/config and /api/visitor/v/config.
    expect(JSON.stringify(definitionJson(proxyConfigOf({ name: 'a', type: 'tcp', localPort: 1 })))).toBe(
      '{"name":"a","type":"tcp","tcp":{"name":"a","type":"tcp","transport":{"bandwidthLimit":"","bandwidthLimitMode":"client"},"loadBalancer":{"group":""},"healthCheck":{"type":"","intervalSeconds":0},"localIP":"127.0.0.1","localPort":1,"plugin":null}}',
    )
    const visitor = visitorConfigOf({ name: 'v', type: 'stcp', serverName: 's', bindPort: -1 })
    expect(JSON.stringify(configJson(visitor))).toBe(
      '{"name":"v","type":"stcp","transport":{},"serverName":"s","bindAddr":"127.0.0.1","bindPort":-1,"plugin":null}',
    )
  })

  it('takes what a store of frp holds', () => {
    const raw = {
      name: 'st',
      type: 'udp',
      enabled: false,
      transport: { bandwidthLimit: '' },
      loadBalancer: { group: '' },
      healthCheck: { type: '', intervalSeconds: 0 },
      plugin: null,
      remotePort: 5,
    }
    expect(proxyConfigOf(raw)).toMatchObject({ name: 'st', remotePort: 5, healthCheck: undefined })
  })

  it('gives the same visitor back, with its fallback', () => {
    const visitor = visitorConfigOf({
      name: 'v',
      type: 'stcp',
      serverName: 's',
      bindPort: 9000,
      secretKey: 'k',
      fallbackTo: 'w',
      transport: { useCompression: true },
    })
    expect(visitor).toMatchObject({ fallbackTo: 'w', fallbackTimeoutMs: 1000 })
    expect(visitorConfigOf(configJson(visitor))).toEqual(visitor)
  })

  it('is checked in full also where it is switched off', () => {
    expect(() => proxyConfigOf({ name: 'a', type: 'http', enabled: false })).toThrow(
      'should not be both empty',
    )
    expect(() => proxyConfigOf({ name: 'a', type: 'xtcp', enabled: false })).toThrow('xtcp is not supported')
    expect(() => proxyConfigOf(5)).toThrow('must be a table')
    expect(() => proxyConfigOf({ name: 'a', type: 'tcp', foo: 1 })).toThrow('proxies[0].foo: unknown key')
    expect(proxyConfigOf({ name: 'a', type: 'tcp', foo: 1 }, { strict: false }).name).toBe('a')
  })
})
