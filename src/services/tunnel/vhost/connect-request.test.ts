import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readConnectRequest } from './connect-request.ts'

const read = (text: string) => readConnectRequest(Buffer.from(text, 'latin1'))

describe('readConnectRequest', () => {
  it('reads authority and credentials, and where the head ends', () => {
    const head = 'CONNECT a.example.com:80 HTTP/1.1\r\nHost: b\r\nproxy-authorization: \tBasic x \r\n\r\n'
    const request = {
      authority: 'a.example.com:80',
      proxyAuthorization: 'Basic x',
      headBytes: head.length,
    }
    expect(read(`${head}\r\n\r\nbehind`)).toEqual(request)
  })

  it.each(['GET / HTTP/1.1\r\n', 'POST http://a/ HTTP/1.0\r\n\r\n'])(
    'tells another method at the end of its line: %j',
    (text) => {
      expect(read(text)).toBe('not-connect')
    },
  )

  it.each([
    '\x16\x03\x01',
    'connect',
    'CONNECT  a',
    'CONNECT a b HTTP/1.1\r\n',
    'CONNECT a HTTP/2.0\r\n',
    'CONNECT a\r\n\r\n',
    '\r\n',
    'CONNECT a HTTP/1.1\r\n folded\r\n\r\n',
    'CONNECT a HTTP/1.1\r\nA : b\r\n\r\n',
    'CONNECT a HTTP/1.1\r\nA: \x00\r\n\r\n',
  ])('refuses %j', (text) => {
    expect(read(text)).toBe('malformed')
  })

  it('waits for all of a head, however it is cut', () => {
    const field = fc.constantFrom('A: b', 'Host: c', 'Proxy-Authorization: Basic x', 'Empty:')
    fc.assert(
      fc.property(fc.array(field), fc.constantFrom('\r\n', '\n'), fc.nat(), (fields, line, cut) => {
        const head = ['CONNECT a:1 HTTP/1.1', ...fields, '', ''].join(line)
        expect(read(head)).toMatchObject({ authority: 'a:1', headBytes: head.length })
        expect(read(head.slice(0, cut % head.length))).toBeUndefined()
      }),
    )
  })

  it('never throws on any bytes', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void readConnectRequest(Buffer.from(bytes))))
  })
})
