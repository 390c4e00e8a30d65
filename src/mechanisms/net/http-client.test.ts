import type { IncomingMessage } from 'node:http'
import { isIP, Socket } from 'node:net'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressRanges } from './address-ranges.ts'
import { type HttpClient, httpClientOf } from './http-client.ts'

const clientOf = httpClientOf(new AddressRanges(['10.0.0.0/8', 'fd00::/8']))

/** A request as `node:http` gives it: names in lower case. */
function request(
  peer: string | undefined,
  headers: IncomingMessage['headers'],
  socket: Socket = new Socket(),
): IncomingMessage {
  Object.defineProperty(socket, 'remoteAddress', { value: peer, configurable: true })
  return { socket, headers } as IncomingMessage
}

const header = ({ headers }: HttpClient, name: string): string | undefined =>
  headers.find((field) => field.name === name)?.value

const said = (headers: IncomingMessage['headers'], peer = '10.0.0.1'): string =>
  clientOf(request(peer, headers)).address

describe('who the client is', () => {
  it.each([
    ['nothing said', {}, '10.0.0.1'],
    ['one address', { 'x-forwarded-for': '192.0.2.1' }, '192.0.2.1'],
    ['a chain that the client began', { 'x-forwarded-for': '1.1.1.1, 192.0.2.1' }, '192.0.2.1'],
    ['a chain through trusted proxies', { 'x-forwarded-for': '192.0.2.1, 10.2.2.2,fd00::7' }, '192.0.2.1'],
    ['a chain of trusted proxies alone', { 'x-forwarded-for': '10.9.9.9, 10.2.2.2' }, '10.9.9.9'],
    ['a port', { 'x-forwarded-for': '192.0.2.1:4711' }, '192.0.2.1'],
    ['IPv6 with a port', { 'x-forwarded-for': '[2001:db8::1]:4711' }, '2001:db8::1'],
    ['IPv6', { 'x-forwarded-for': '2001:db8::1' }, '2001:db8::1'],
    ['IPv4 in IPv6', { 'x-forwarded-for': '::ffff:192.0.2.1' }, '192.0.2.1'],
    ['a hidden address', { 'x-forwarded-for': '192.0.2.1, unknown' }, '10.0.0.1'],
    ['a hidden address behind a proxy', { 'x-forwarded-for': 'unknown, 10.2.2.2' }, '10.2.2.2'],
    ['what is no address', { 'x-forwarded-for': '192.0.2.1, 10.0.0.999' }, '10.0.0.1'],
    ['blank entries', { 'x-forwarded-for': ' , 192.0.2.1 ,, ' }, '192.0.2.1'],
    ['a header too long', { 'x-forwarded-for': `${'x,'.repeat(2048)}192.0.2.1` }, '10.0.0.1'],
    ['X-Real-IP', { 'x-real-ip': '192.0.2.1' }, '192.0.2.1'],
    ['X-Real-IP beside a chain', { 'x-real-ip': '1.1.1.1', 'x-forwarded-for': '192.0.2.1' }, '192.0.2.1'],
    ['Forwarded beside a chain', { forwarded: 'for=1.1.1.1', 'x-forwarded-for': '192.0.2.1' }, '192.0.2.1'],
    ['Forwarded', { forwarded: 'for=192.0.2.43, For=10.0.0.2;by=x' }, '192.0.2.43'],
    ['Forwarded in quotes', { forwarded: 'proto=https ; For="[2001:db8::1]:4711"' }, '2001:db8::1'],
    ['Forwarded with quoted separators', { forwarded: 'for=192.0.2.1;ext="a\\",for=1.1.1.1;"' }, '192.0.2.1'],
    ['Forwarded with an obfuscated port', { forwarded: 'for="192.0.2.1:_p"' }, '192.0.2.1'],
    ['Forwarded unknown', { forwarded: 'for=unknown' }, '10.0.0.1'],
    ['Forwarded hidden', { forwarded: 'for="_gazonk"' }, '10.0.0.1'],
    ['Forwarded without for', { forwarded: 'proto=https' }, '10.0.0.1'],
    ['Forwarded with empty elements', { forwarded: ',for=192.0.2.1, ,' }, '192.0.2.1'],
    ['quotes that swallow what proxies said', { forwarded: 'for="1.1.1.1, for=192.0.2.1' }, '10.0.0.1'],
    [
      'quotes that do not match behind others',
      { forwarded: 'for=1.1.1.1, for="x, for=192.0.2.1' },
      '10.0.0.1',
    ],
    ['a parameter twice', { forwarded: 'for=1.1.1.1;for=192.0.2.1' }, '10.0.0.1'],
  ])('of a trusted proxy with %s', (_, headers, address) => {
    expect(said(headers)).toBe(address)
  })

  it.each(['192.0.2.9', '::ffff:192.0.2.9'])('nobody else is believed, such as %s', (peer) => {
    const client = clientOf(
      request(peer, {
        host: 'play.example.com',
        'x-forwarded-for': '1.1.1.1',
        forwarded: 'for=1.1.1.1;proto=https;host=evil',
        'x-real-ip': '1.1.1.1',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'evil',
      }),
    )
    expect(client).toEqual({
      address: '192.0.2.9',
      isSecure: false,
      headers: [
        { name: 'X-Forwarded-For', value: '192.0.2.9' },
        { name: 'X-Real-IP', value: '192.0.2.9' },
        { name: 'X-Forwarded-Proto', value: 'http' },
        { name: 'X-Forwarded-Host', value: 'play.example.com' },
        { name: 'Forwarded', value: 'for=192.0.2.9;host="play.example.com";proto=http' },
      ],
    })
  })
})

describe('what the origin is told', () => {
  it('continues the chain from the client on, without what the client made up', () => {
    const client = clientOf(
      request('::ffff:10.0.0.1', {
        host: 'inner:8080',
        'x-forwarded-for': '6.6.6.6, 2001:db8::1, 10.0.0.2',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'play.example.com:8443',
      }),
    )
    expect(client).toEqual({
      address: '2001:db8::1',
      isSecure: true,
      headers: [
        { name: 'X-Forwarded-For', value: '2001:db8::1, 10.0.0.2, 10.0.0.1' },
        { name: 'X-Real-IP', value: '2001:db8::1' },
        { name: 'X-Forwarded-Proto', value: 'https' },
        { name: 'X-Forwarded-Host', value: 'play.example.com:8443' },
        {
          name: 'Forwarded',
          value: 'for="[2001:db8::1]";host="play.example.com:8443";proto=https, for=10.0.0.2, for=10.0.0.1',
        },
      ],
    })
  })

  it.each([
    ['the scheme of the hop that the client used', 'evil, https, http', '192.0.2.1, 10.0.0.2', true],
    ['one scheme for all', 'https', '192.0.2.1, 10.0.0.2', true],
    ['no scheme that there is not', 'gopher', '192.0.2.1', false],
    ['the scheme without a chain', 'https', undefined, true],
  ])('takes %s', (_, proto, chain, isSecure) => {
    const headers = { 'x-forwarded-proto': proto, ...(chain !== undefined && { 'x-forwarded-for': chain }) }
    expect(clientOf(request('10.0.0.1', headers)).isSecure).toBe(isSecure)
  })

  it('reads scheme and host of Forwarded', () => {
    const client = clientOf(
      request('10.0.0.1', { host: 'inner', forwarded: 'for=192.0.2.1;proto=HTTPS;host="a.example:443"' }),
    )
    expect(client.isSecure).toBe(true)
    expect(header(client, 'X-Forwarded-Host')).toBe('a.example:443')
  })

  it('says no host that could break a header', () => {
    for (const host of ['a"b', 'a b', 'a;b', 'a,b', '', 'x'.repeat(300), undefined]) {
      const client = clientOf(request('192.0.2.1', host === undefined ? {} : { host }))
      expect(header(client, 'X-Forwarded-Host')).toBeUndefined()
      expect(header(client, 'Forwarded')).toBe('for=192.0.2.1;proto=http')
    }
  })

  it('is remembered for a connection, by its host', () => {
    const socket = new Socket()
    const first = clientOf(request('192.0.2.1', { host: 'a' }, socket))
    expect(clientOf(request('192.0.2.1', { host: 'a', 'x-forwarded-for': '1.1.1.1' }, socket))).toBe(first)
    expect(header(clientOf(request('192.0.2.1', { host: 'b' }, socket)), 'X-Forwarded-Host')).toBe('b')
    // Of a trusted proxy each request may be another client's.
    const shared = new Socket()
    expect(clientOf(request('10.0.0.1', { 'x-real-ip': '192.0.2.1' }, shared)).address).toBe('192.0.2.1')
    expect(clientOf(request('10.0.0.1', {}, shared)).address).toBe('10.0.0.1')
    expect(clientOf(request('10.0.0.1', { 'x-real-ip': '192.0.2.2' }, shared)).address).toBe('192.0.2.2')
  })

  it('is as good as nothing for a connection that is gone', () => {
    expect(clientOf(request(undefined, {}))).toMatchObject({ address: '' })
  })
})

it('any headers give an address and headers that can be sent, and never throw', () => {
  const part = fc.constantFrom(
    'for=',
    'proto=',
    'host=',
    '"',
    ',',
    ';',
    '\\',
    '10.0.0.2',
    '[::1]',
    ':1',
    ' ',
    'https',
  )
  const text = fc.oneof(
    fc.string(),
    fc.array(part).map((parts) => parts.join('')),
  )
  const value = fc.option(text, { nil: undefined })
  fc.assert(
    fc.property(value, value, value, value, value, value, (chain, forwarded, real, proto, host, own) => {
      const client = clientOf(
        request('10.0.0.1', {
          'x-forwarded-for': chain,
          forwarded,
          'x-real-ip': real,
          'x-forwarded-proto': proto,
          'x-forwarded-host': host,
          host: own,
        }),
      )
      expect(isIP(client.address)).not.toBe(0)
      for (const { value } of client.headers) expect(value).toMatch(/^[!-~](?:[ -~]*[!-~])?$/)
    }),
    { numRuns: 1000 },
  )
})
