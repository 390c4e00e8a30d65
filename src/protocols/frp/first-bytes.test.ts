import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { classifyFirstBytes, encodeMessage, V2_MAGIC, type FirstBytes } from './index.ts'

const openings: readonly (readonly [FirstBytes, Buffer])[] = [
  ['websocket', Buffer.from('GET /~!frp HTTP/1.1\r\n')],
  ...[
    'GET /',
    'HEAD',
    'POST',
    'PUT /',
    'DELETE',
    'CONNECT',
    'OPTIONS',
    'TRACE',
    'PATCH',
    'PRI * HTTP/2.0',
  ].map((method) => ['http', Buffer.from(`${method} index.html`)] as const),
  ['marked-tls', Buffer.from('1716030102', 'hex')],
  ['tls', Buffer.from('16030102', 'hex')],
  ['v2', V2_MAGIC],
  ['yamux', Buffer.from('0001000100000001005c0000', 'hex')],
  ['yamux', Buffer.from('000000010000000100000003', 'hex')],
  ['v1', encodeMessage('v1', 'Login', {})],
  ['v1', encodeMessage('v1', 'NewWorkConn', {})],
  ['v1', encodeMessage('v1', 'NewVisitorConn', {})],
  ['unknown', Buffer.from('0003', 'hex')],
  ['unknown', Buffer.from('SSH-2.0')],
  ['unknown', Buffer.from('FRP\0\u0003\r\n', 'latin1')],
  ['unknown', Buffer.from('get /~!frp')],
]

describe('classifyFirstBytes', () => {
  it.each(openings)('tells %s by %s', (kind, bytes) => {
    expect(classifyFirstBytes(bytes)).toBe(kind)
  })

  it.each(openings)('asks for more, and does not change its mind about %s by %s', (kind, bytes) => {
    const answers = Array.from(bytes, (_, length) => classifyFirstBytes(bytes.subarray(0, length)))
    expect(answers.every((answer) => answer === 'more' || answer === kind)).toBe(true)
    expect(answers[0]).toBe('more')
  })

  it('knows what any ten bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 10, maxLength: 20 }), (bytes) => {
        expect(classifyFirstBytes(bytes)).not.toBe('more')
      }),
    )
  })
})
