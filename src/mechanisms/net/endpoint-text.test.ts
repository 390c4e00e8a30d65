import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatListenAddress, parseListenText } from './endpoint-text.ts'

describe('listener texts', () => {
  it.each([
    ['8080', { port: 8080 }],
    [':8080', { port: 8080 }],
    ['0', { port: 0 }],
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    ['0.0.0.0:8080', { host: '0.0.0.0', port: 8080 }],
    ['[::1]:8080', { host: '::1', port: 8080 }],
    ['[::]:8080', { host: '::', port: 8080 }],
  ])('%s is read', (text, address) => {
    expect(parseListenText(text)).toEqual(address)
  })

  it.each([
    '',
    'x',
    '65536',
    '127.0.0.1',
    '::1:8080',
    '[127.0.0.1]:1',
    'localhost:80',
    '1.2.3:80',
    '80:',
    '-1',
    '1.5',
    ' 80',
  ])('"%s" is refused', (text) => {
    expect(parseListenText(text)).toBeUndefined()
  })

  it('reads what it formats', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(65_535), (host, port) => {
        expect(parseListenText(formatListenAddress({ host, port }))).toEqual({ host, port })
      }),
    )
  })
})
