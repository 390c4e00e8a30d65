import * as fc from 'fast-check'
import type { Handshake } from './handshake.ts'

/** What libsrt 1.5.1 sent as a caller; captured on loopback, with our cookie 0x12345678. */
export const captured = {
  induction:
    '80000000000000000000009f0000000000000004000000022d323678000005dc00002000000000011692cfba' +
    '000000000100007f000000000000000000000000',
  /** Stream id `#!::r=live/livestream,m=publish`. */
  conclusion:
    '8000000000000000000f57c90000000000000005000000052d323678000005dc00002000ffffffff1692cfba' +
    '123456780100007f0000000000000000000000000001000300010501000000bf00780000000500083a3a2123696c3d726c2f65' +
    '7673657669616572743d6d2c6d6c62757000687369',
  /** Stream id `live/s`, with a passphrase. */
  encrypted:
    '80000000000000000000059e0000000000000005000000073ad802d4000005dc00002000ffffffff3c2135bd' +
    '123456780100007f0000000000000000000000000001000300010501000000bf00780000000500026576696c0000732f' +
    '0003000e12202901000000000200020000000404bc2aca2953d73f747484649d37007a56e51b7ae3d48158e9aee18c80b9571b' +
    '8b62b0891477e96988',
} as const

export function bytesOf(hex: string): Buffer {
  return Buffer.from(hex, 'hex')
}

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const u16 = fc.integer({ min: 0, max: 0xffff })

/** Any handshake that can be encoded. */
export const anyHandshake: fc.Arbitrary<Handshake> = fc.record({
  info: u32,
  timestampUs: u32,
  destination: u32,
  version: u32,
  encryption: u16,
  extensionField: u16,
  initialSequence: u32,
  mtuBytes: u32,
  flowWindow: u32,
  type: u32,
  socketId: u32,
  cookie: u32,
  peerIp: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  extensions: fc.array(
    fc.record({
      type: u16,
      content: fc.array(u32, { maxLength: 8 }).map((words) => {
        const bytes = Buffer.alloc(4 * words.length)
        words.forEach((word, at) => bytes.writeUInt32BE(word, 4 * at))
        return new Uint8Array(bytes)
      }),
    }),
    { maxLength: 16 },
  ),
})
