import { describe, expect, test } from 'vitest'
import { publicAddressesFor, publicTcpAddressesFor } from './public-addresses.ts'

const local = (address: string, port = 8000): { address: string; port: number; local: number } => ({
  address,
  port,
  local: 0,
})

describe('publicAddressesFor', () => {
  const everywhere = [local('127.0.0.1'), local('192.0.2.1'), local('::1'), local('2001:db8::1')]
  const names = (...args: Parameters<typeof publicAddressesFor>): string[] =>
    publicAddressesFor(...args).map(({ address, port }) => `${address} ${port}`)

  test('configured addresses, with the bound port unless another is given', () => {
    const configured = [{ address: '203.0.113.5' }, { address: '2001:db8::5', port: 9000 }]
    expect(names(configured, '192.0.2.1', everywhere)).toEqual(['203.0.113.5 8000', '2001:db8::5 9000'])
  })

  test('configured addresses, with every bound port unless another is given', () => {
    const bound = [local('192.0.2.1'), local('192.0.2.1', 8001), local('127.0.0.1', 8001)]
    const configured = [{ address: '203.0.113.5' }, { address: '203.0.113.6', port: 443 }]
    expect(names(configured, '192.0.2.1', bound)).toEqual([
      '203.0.113.5 8000',
      '203.0.113.5 8001',
      '203.0.113.6 443',
    ])
  })

  test('else the address on which the request came in', () => {
    expect(names([], '192.0.2.1', everywhere)).toEqual(['192.0.2.1 8000'])
    expect(names([], '::ffff:192.0.2.1', everywhere)).toEqual(['192.0.2.1 8000'])
  })

  test('a request over loopback is offered the other addresses too', () => {
    expect(names([], '127.0.0.1', everywhere)).toEqual([
      '127.0.0.1 8000',
      '192.0.2.1 8000',
      '2001:db8::1 8000',
    ])
  })

  test('only where media is heard', () => {
    expect(names([], '192.0.2.77', everywhere)).toEqual(['192.0.2.1 8000', '2001:db8::1 8000'])
    expect(names([], '127.0.0.1', [local('192.0.2.1')])).toEqual(['192.0.2.1 8000'])
    expect(names([], '192.0.2.1', [local('127.0.0.1')])).toEqual(['127.0.0.1 8000'])
    expect(names([], undefined, [local('127.0.0.1')])).toEqual(['127.0.0.1 8000'])
  })

  test('not more than a client should have to check', () => {
    const many = Array.from({ length: 40 }, (_, i) => local(`192.0.2.${i}`))
    expect(names([], undefined, many)).toHaveLength(16)
  })
})

describe('publicTcpAddressesFor', () => {
  const udp = [local('192.0.2.1'), local('192.0.2.1', 8001), local('2001:db8::1')]
  const names = (...args: Parameters<typeof publicTcpAddressesFor>): string[] =>
    publicTcpAddressesFor(...args).map(({ address, port, transport }) => `${address} ${port} ${transport}`)

  test('none where nothing listens', () => {
    expect(names([{ address: '203.0.113.5', port: 1 }], [], '192.0.2.1', udp, [])).toEqual([])
  })

  test('a listener of every address is offered where the request came in, or where UDP is', () => {
    const everywhere = [{ host: undefined, port: 443 }]
    expect(names([], [], '192.0.2.1', udp, everywhere)).toEqual(['192.0.2.1 443 tcp'])
    expect(names([], [], undefined, udp, everywhere)).toEqual(['192.0.2.1 443 tcp', '2001:db8::1 443 tcp'])
    expect(names([], [], undefined, udp, [{ host: '::', port: 1 }])).toEqual([
      '192.0.2.1 1 tcp',
      '2001:db8::1 1 tcp',
    ])
    expect(names([], [], undefined, udp, [{ host: '0.0.0.0', port: 1 }])).toEqual(['192.0.2.1 1 tcp'])
  })

  test('configured addresses: those for TCP, else those for UDP with the port of TCP', () => {
    const listen = [{ host: '192.0.2.1', port: 443 }]
    const configured = [{ address: '203.0.113.5', port: 8000 }]
    expect(names([], configured, '192.0.2.1', udp, listen)).toEqual(['203.0.113.5 443 tcp'])
    const forTcp = [{ address: '203.0.113.9', port: 80 }, { address: '203.0.113.9' }]
    expect(names(forTcp, configured, '192.0.2.1', udp, listen)).toEqual([
      '203.0.113.9 80 tcp',
      '203.0.113.9 443 tcp',
    ])
  })
})
