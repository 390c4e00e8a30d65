import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseTurnUri } from './turn-uri.ts'

const user = { username: 'user', password: 'pass' }

describe('TURN URIs', () => {
  test.each([
    ['turn://user:pass@192.0.2.1:3478', { host: '192.0.2.1', port: 3478, transport: 'udp', identity: user }],
    [
      'turn://user:pass@192.0.2.1?transport=tcp',
      { host: '192.0.2.1', port: 3478, transport: 'tcp', identity: user },
    ],
    [
      'turn://user:pass@turn.example.com:443?transport=TLS',
      { host: 'turn.example.com', port: 443, transport: 'tls', identity: user },
    ],
    [
      'turn://user:pass@turn.example.com?transport=dtls',
      { host: 'turn.example.com', port: 5349, transport: 'dtls', identity: user },
    ],
    [
      'turns://user:pass@turn.example.com',
      { host: 'turn.example.com', port: 5349, transport: 'tls', identity: user },
    ],
    [
      'turn://user:pass@[2001:db8::1]:3479/',
      { host: '2001:db8::1', port: 3479, transport: 'udp', identity: user },
    ],
    ['TURN:example.org', { host: 'example.org', port: 3478, transport: 'udp', identity: undefined }],
    [
      'turn:example.org:80?transport=tcp',
      { host: 'example.org', port: 80, transport: 'tcp', identity: undefined },
    ],
    [
      'turns:example.org?transport=udp',
      { host: 'example.org', port: 5349, transport: 'dtls', identity: undefined },
    ],
    ['turns:[::1]', { host: '::1', port: 5349, transport: 'tls', identity: undefined }],
    ['turn:user:pass@example.org', { host: 'example.org', port: 3478, transport: 'udp', identity: user }],
    [
      'turn://my-secret@example.org',
      { host: 'example.org', port: 3478, transport: 'udp', identity: { secret: 'my-secret' } },
    ],
    [
      'turn://1700000000%3Aalice:a+/b=@example.org',
      {
        host: 'example.org',
        port: 3478,
        transport: 'udp',
        identity: { username: '1700000000:alice', password: 'a+/b=' },
      },
    ],
    [
      'turn://u:p@ss:word@example.org',
      {
        host: 'example.org',
        port: 3478,
        transport: 'udp',
        identity: { username: 'u', password: 'p@ss:word' },
      },
    ],
  ])('%s', (text, server) => {
    expect(parseTurnUri(text)).toEqual(server)
  })

  test.each([
    '',
    'turn',
    'turn:',
    'turn://',
    'stun:example.org',
    'http://example.org',
    'turn://user:pass@example.org:0',
    'turn://user:pass@example.org:65536',
    'turn://user:pass@example.org/path',
    'turn://user:pass@example.org?transport=quic',
    'turn://user:pass@example.org?transport=udp&ttl=3',
    'turn://user:@example.org',
    'turn://:pass@example.org',
    'turn://@example.org',
    'turn://user:100%@example.org',
    'turn://user:pass@::1',
  ])('"%s" is refused', (text) => {
    expect(() => parseTurnUri(text)).toThrow(expect.objectContaining({ code: 'TURNCAT_URI_INVALID' }))
  })

  test('messages do not tell the password', () => {
    for (const text of [
      'turn://user:hunter2@example.org:0',
      'turn://hunter2@example.org?transport=x',
      'tunr://u:hunter2@h',
    ]) {
      expect(() => parseTurnUri(text)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
      )
    }
  })

  test('k8s:// says what to use instead', () => {
    expect(() => parseTurnUri('k8s://stunner/udp-gateway:udp-listener')).toThrow(
      expect.objectContaining({
        code: 'TURNCAT_K8S_UNSUPPORTED',
        message: expect.stringContaining('turn://user:password@host:port'),
      }),
    )
  })

  test('any user and password come back when they are percent-encoded', () => {
    const part = fc.string({ minLength: 1, unit: 'grapheme' })
    fc.assert(
      fc.property(part, part, (username, password) => {
        const text = `turn://${encodeURIComponent(username)}:${encodeURIComponent(password)}@example.org`
        expect(parseTurnUri(text).identity).toEqual({ username, password })
      }),
    )
  })
})
