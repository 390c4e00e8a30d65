import { describe, expect, it } from 'vitest'
import { sharedPortProtocol } from './shared-port.ts'

describe('sharedPortProtocol', () => {
  it.each([
    [0x00, 'stun.turn', 'stun'],
    [0x47, 'stun.nat-discovery', 'stun'],
    [0x00, 'http/1.1', 'http'],
    [undefined, 'h2', 'http'],
    [0x00, undefined, 'stun'],
    [0x03, 'something else', 'stun'],
    [0x47, undefined, 'http'],
    [0x67, 'something else', 'http'],
    [0x16, undefined, 'other'],
    [0x40, undefined, 'other'],
    [0x5b, undefined, 'other'],
    [0xff, undefined, 'other'],
    [undefined, undefined, 'other'],
  ])('first byte %s, ALPN %s: %s', (firstByte, alpn, protocol) => {
    expect(sharedPortProtocol(firstByte, alpn)).toBe(protocol)
  })
})
