import { describe, expect, it } from 'vitest'
import { clientHeaders, publicLocation } from './client-response.ts'

const perspective = { originHost: '10.0.0.5', clientHost: 'play.example.com:8080' }

describe('publicLocation', () => {
  it.each([
    ['/live/s.flv?a=b', '/live/s.flv?a=b'],
    ['s.flv', 's.flv'],
    ['', ''],
    ['http://10.0.0.5:8081/live/s.flv?a=b#c', '/live/s.flv?a=b#c'],
    ['//10.0.0.5/live', '/live'],
    ['http:\\\\10.0.0.5\\live', '/live'],
    ['http://10.0.0.5//evil.example.com/', '/evil.example.com/'],
    ['http://play.example.com:8080/x', 'http://play.example.com:8080/x'],
    ['https://cdn.example.net/x', 'https://cdn.example.net/x'],
    ['http://10.0.0.6/x', undefined],
    ['http://192.168.1.1/x', undefined],
    ['http://[fd00::1]/x', undefined],
    ['http://[::1]:80/x', undefined],
    ['http://0x0a000006/x', undefined],
    ['http://srs-edge-3:8080/x', undefined],
    ['http://origin.internal/x', undefined],
    ['rtmp://10.0.0.6/x', undefined],
    ['http://[bad', undefined],
  ])('turns %j into %j', (location, expected) => {
    expect(publicLocation(location, perspective)).toBe(expected)
  })

  it('knows the origin by name and by IPv6 address', () => {
    const byName = { originHost: 'Origin.example.org', clientHost: undefined }
    expect(publicLocation('http://origin.example.org:8080/x', byName)).toBe('/x')
    const byAddress = { originHost: 'fd00::5', clientHost: undefined }
    expect(publicLocation('http://[fd00:0::5]:8080/x', byAddress)).toBe('/x')
  })

  it('leaves the host that the client asked for, although the origin runs there too', () => {
    const same = { originHost: '127.0.0.1', clientHost: '127.0.0.1:8080' }
    expect(publicLocation('http://127.0.0.1:8080/x', same)).toBe('http://127.0.0.1:8080/x')
    expect(publicLocation('http://127.0.0.1:8081/x', same)).toBe('/x')
  })
})

const head = (...headers: [string, string][]) => ({
  minorVersion: 1,
  status: 200,
  reason: 'OK',
  headers: headers.map(([name, value]) => ({ name, value })),
})

describe('clientHeaders', () => {
  it('leaves out what is of the connection, and what that names', () => {
    const names = clientHeaders(
      head(
        ['Connection', 'close, X-Hop'],
        ['X-Hop', '1'],
        ['Keep-Alive', '5'],
        ['Trailer', 'x'],
        ['Alt-Svc', 'h2="10.0.0.1:1"'],
        ['ETag', '"x"'],
      ),
      perspective,
    ).map(({ name }) => name)
    expect(names[0]).toBe('ETag')
    expect(names.slice(1).every((name) => name.startsWith('Access-Control-'))).toBe(true)
  })

  it('keeps the rules of an origin that has its own for other sites', () => {
    const own = head(
      ['access-control-allow-origin', 'https://a.example'],
      ['Access-Control-Allow-Credentials', 'true'],
    )
    expect(clientHeaders(own, perspective)).toEqual(own.headers)
  })

  it('keeps repeated headers in their order', () => {
    const cookies = head(['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2'], ['Access-Control-Allow-Origin', '*'])
    expect(clientHeaders(cookies, perspective)).toEqual(cookies.headers)
  })
})
