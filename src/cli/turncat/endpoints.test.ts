import { describe, expect, test } from 'vitest'
import { parseClient, parsePeer } from './endpoints.ts'
import { parseLogLevel } from './log-level.ts'

describe('local ends', () => {
  test.each([
    ['-', { kind: 'stdio' }],
    ['file://-', { kind: 'stdio' }],
    ['udp://127.0.0.1:5000', { kind: 'udp', host: '127.0.0.1', port: 5000 }],
    ['tcp://[::1]:0', { kind: 'tcp', host: '::1', port: 0 }],
    ['unix:///run/turncat.sock', { kind: 'unix', path: '/run/turncat.sock' }],
  ])('%s', (text, endpoint) => {
    expect(parseClient(text)).toEqual(endpoint)
  })

  test.each([
    '',
    'udp://127.0.0.1',
    'udp://127.0.0.1:65536',
    'unix://',
    'unix://relative',
    'sctp://127.0.0.1:1',
  ])('"%s" is refused', (text) => {
    expect(() => parseClient(text)).toThrow(expect.objectContaining({ code: 'TURNCAT_URI_INVALID' }))
  })
})

describe('peers', () => {
  test('are hosts with ports', () => {
    expect(parsePeer('udp://192.0.2.2:53')).toEqual({ kind: 'udp', host: '192.0.2.2', port: 53 })
    expect(parsePeer('tcp://media.example.com:80')).toEqual({
      kind: 'tcp',
      host: 'media.example.com',
      port: 80,
    })
  })

  test.each(['-', 'udp://192.0.2.2', 'udp://192.0.2.2:0', 'unix:///x', '192.0.2.2:53'])(
    '"%s" is refused',
    (text) => {
      expect(() => parsePeer(text)).toThrow(expect.objectContaining({ code: 'TURNCAT_URI_INVALID' }))
    },
  )
})

describe('log levels', () => {
  test.each([
    ['debug', 'debug'],
    ['INFO', 'info'],
    ['TRACE', 'debug'],
    ['all:INFO,turncat:DEBUG', 'debug'],
    ['turn:DEBUG,all:ERROR', 'error'],
    ['turn:DEBUG', 'warn'],
  ])('%s is %s', (text, level) => {
    expect(parseLogLevel(text)).toBe(level)
  })

  test.each(['', 'loud', 'all:loud', 'a:b:info'])('"%s" is refused', (text) => {
    expect(() => parseLogLevel(text)).toThrow(expect.objectContaining({ code: 'TURNCAT_OPTION_INVALID' }))
  })
})
