import { expect, it } from 'vitest'
import { plainTransport, portProxy, proxyBase, secretProxy } from './client-config.testkit.ts'
import { newProxyMessage } from './new-proxy.ts'

const base = proxyBase('p', {
  annotations: { a: '1' },
  metadatas: { m: '2' },
  transport: {
    ...plainTransport,
    useEncryption: true,
    useCompression: true,
    bandwidthLimit: '1MB',
    bandwidthLimitMode: 'server',
  },
  loadBalancer: { group: 'g', groupKey: 'k' },
})
const domains = { customDomains: ['a.example'], subdomain: 'a' }

it('what all types have', () => {
  expect(newProxyMessage({ ...base, type: 'tcp', remotePort: 6000 }, 'u.p')).toEqual({
    proxy_name: 'u.p',
    proxy_type: 'tcp',
    use_encryption: true,
    use_compression: true,
    bandwidth_limit: '1MB',
    bandwidth_limit_mode: 'server',
    group: 'g',
    group_key: 'k',
    metas: { m: '2' },
    annotations: { a: '1' },
    remote_port: 6000,
  })
})

it('a limit in client mode is not named, as frp does not', () => {
  const transport = { ...plainTransport, bandwidthLimit: '1MB' }
  expect(newProxyMessage(portProxy('udp', 'p', { transport }), 'p')).toMatchObject({
    proxy_type: 'udp',
    bandwidth_limit: '1MB',
    bandwidth_limit_mode: '',
  })
})

it('what each type has of its own', () => {
  const http = {
    ...base,
    ...domains,
    type: 'http',
    locations: ['/x'],
    httpUser: 'user',
    httpPassword: 'pass',
    hostHeaderRewrite: 'inner',
    requestHeaders: { set: { q: '1' } },
    responseHeaders: { set: { r: '2' } },
    routeByHTTPUser: 'route',
  } as const
  expect(newProxyMessage(http, 'p')).toMatchObject({
    proxy_type: 'http',
    custom_domains: ['a.example'],
    subdomain: 'a',
    locations: ['/x'],
    http_user: 'user',
    http_pwd: 'pass',
    host_header_rewrite: 'inner',
    headers: { q: '1' },
    response_headers: { r: '2' },
    route_by_http_user: 'route',
  })
  expect(newProxyMessage({ ...base, ...domains, type: 'https' }, 'p')).toMatchObject({
    proxy_type: 'https',
    custom_domains: ['a.example'],
    subdomain: 'a',
  })
  const tcpmux = {
    ...base,
    ...domains,
    type: 'tcpmux',
    multiplexer: 'httpconnect',
    httpUser: 'user',
    httpPassword: 'pass',
    routeByHTTPUser: 'route',
  } as const
  expect(newProxyMessage(tcpmux, 'p')).toMatchObject({
    proxy_type: 'tcpmux',
    multiplexer: 'httpconnect',
    http_user: 'user',
    http_pwd: 'pass',
    route_by_http_user: 'route',
  })
  expect(newProxyMessage(secretProxy('stcp', 'p', { allowUsers: ['*'] }), 'p')).toMatchObject({
    proxy_type: 'stcp',
    sk: 'key',
    allow_users: ['*'],
  })
})
