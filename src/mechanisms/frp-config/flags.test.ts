import { describe, expect, it } from 'vitest'
import {
  frpcCommonFlags,
  frpcProxyFlags,
  frpcProxyRawOf,
  frpcVisitorRawOf,
  frpsFlags,
  frpsRawOf,
  INLINE_PROXY_TYPES,
} from './flags.ts'
import { frpcConfigOf, frpsConfigOf } from './load.ts'

const options = { env: {} }

describe('flags', () => {
  it('make a server', () => {
    const raw = frpsRawOf({
      'bind-port': '7100',
      token: '0123',
      allow_ports: '1000-2000,3000',
      'tls-only': true,
      log_level: 'debug',
      dashboard_port: 7500,
    })
    expect(frpsConfigOf(raw, options).config).toMatchObject({
      bindPort: 7100,
      proxyBindAddr: '0.0.0.0',
      auth: { token: '0123' },
      allowPorts: [
        { from: 1000, to: 2000 },
        { from: 3000, to: 3000 },
      ],
      transport: { tls: { force: true } },
      log: { level: 'debug' },
      webServer: { addr: '0.0.0.0', port: 7500, user: 'admin', password: 'admin', tls: undefined },
    })
  })

  it('give the dashboard its certificate only in TLS mode', () => {
    const files = { dashboard_tls_cert_file: 'a.pem', dashboard_tls_key_file: 'b.pem' }
    expect(frpsConfigOf(frpsRawOf(files), options).config.webServer.tls).toBeUndefined()
    expect(
      frpsConfigOf(frpsRawOf({ ...files, dashboard_tls_mode: true }), options).config.webServer.tls,
    ).toEqual({
      certFile: 'a.pem',
      keyFile: 'b.pem',
    })
  })

  it('make a client with one proxy', () => {
    const raw = frpcProxyRawOf('http', {
      server_addr: '192.0.2.1',
      proxy_name: 'web',
      local_port: '80',
      custom_domain: ['a.example,b.example', 'c.example'],
      metadatas: 'k=v,l=m=n',
      ue: true,
      tls_enable: 'false',
    })
    const { config } = frpcConfigOf(raw, options)
    expect(config).toMatchObject({
      serverAddr: '192.0.2.1',
      serverPort: 7000,
      transport: { tls: { enable: false } },
    })
    expect(config.proxies).toMatchObject([
      {
        name: 'web',
        type: 'http',
        localPort: 80,
        customDomains: ['a.example', 'b.example', 'c.example'],
        metadatas: { k: 'v', l: 'm=n' },
        transport: { useEncryption: true },
      },
    ])
  })

  it('make a client with one visitor', () => {
    const raw = frpcVisitorRawOf('stcp', {
      visitor_name: 'v',
      'server-name': 's',
      sk: 'k',
      bind_port: '9000',
    })
    const { config } = frpcConfigOf(raw, options)
    expect(config.serverAddr).toBe('127.0.0.1')
    expect(config.visitors).toMatchObject([{ name: 'v', serverName: 's', secretKey: 'k', bindPort: 9000 }])
  })

  it('say what is wrong by their name', () => {
    expect(() => frpsRawOf({ bind_port: 'x' })).toThrow('--bind_port = "x": must be a whole number')
    expect(() => frpsRawOf({ allow_ports: '5-3' })).toThrow('--allow_ports = "5-3": range number is invalid')
    expect(() => frpcProxyRawOf('tcp', { metadatas: 'x' })).toThrow('--metadatas = "x": must be key=value')
    expect(() => frpcProxyRawOf('tcp', { ue: 'maybe' })).toThrow('--ue = "maybe": must be true or false')
    expect(() => frpcConfigOf(frpcProxyRawOf('xtcp', { proxy_name: 'x' }), options)).toThrow(
      'xtcp is not supported',
    )
  })

  it('have names and short names that do not clash', () => {
    const sets = [
      frpsFlags,
      ...INLINE_PROXY_TYPES.map((type) => [...frpcCommonFlags, ...frpcProxyFlags(type)]),
    ]
    for (const flags of sets) {
      const names = flags.map(({ name }) => name)
      const shorts = flags.flatMap(({ short }) => short ?? [])
      expect(new Set(names).size).toBe(names.length)
      expect(new Set(shorts).size).toBe(shorts.length)
    }
  })
})
