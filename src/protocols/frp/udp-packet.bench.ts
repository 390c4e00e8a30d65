import { bench, describe } from 'vitest'
import { encodeUdpPacket, MessageDecoder, type UdpPacketCodec, type WireVersion } from './index.ts'

// The JSON of other messages for comparison: what the path by hand saves.
const content = Buffer.from(Array.from({ length: 1200 }, (_, i) => (i * 197) & 0xff))
const remote = { IP: '203.0.113.9', Port: 54_321, Zone: '' }
const plainJson = JSON.stringify({ c: content.toString('base64'), r: remote })

describe.each([
  ['v1', 'json'],
  ['v2', 'json'],
  ['v2', 'binary-v1'],
] as const satisfies readonly (readonly [WireVersion, UdpPacketCodec])[])(
  '%s %s',
  (version, udpPacketCodec) => {
    const bytes = encodeUdpPacket(version, { content, remote }, udpPacketCodec)
    const decoder = new MessageDecoder(version, { udpPacketCodec })

    bench('encode', () => {
      encodeUdpPacket(version, { content, remote }, udpPacketCodec)
    })
    bench('decode', () => {
      decoder.push(bytes)
      decoder.next()
    })
  },
)

describe('by JSON.stringify and JSON.parse', () => {
  bench('encode', () => {
    Buffer.from(JSON.stringify({ c: content.toString('base64'), r: remote }))
  })
  bench('decode', () => {
    const { c } = JSON.parse(plainJson) as { c: string }
    Buffer.from(c, 'base64')
  })
})
