import { describe, expect, test } from 'vitest'
import { sdpOf } from '../../../protocols/sdp/sdp.testkit.ts'
import { originMediaPort } from './origin-media-port.ts'
import { publicAddressesFor } from './public-addresses.ts'
import { answerSdp } from './webrtc.testkit.ts'

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

describe('originMediaPort', () => {
  const answer = sdpOf(answerSdp('or16', 8001))
  test.each([
    ['the one the answer names, when it is registered', [8000, 8001], 8001],
    ['the first registered, when the answer names another', [8000, 8002], 8000],
    ['what the answer names, when 0 is registered', [0], 8001],
    ['what the answer names, when 0 is among the registered', [8000, 0], 8001],
  ])('%s', (_, registered, port) => {
    expect(originMediaPort(answer, registered)).toBe(port)
  })

  test('an answer without candidates: the first registered port, or none', () => {
    const bare = sdpOf('v=0\r\nm=video 9 X 0\r\n')
    expect(originMediaPort(bare, [0, 8000])).toBe(8000)
    expect(originMediaPort(bare, [0])).toBeUndefined()
  })
})
