import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { goldenMessages } from './golden.testkit.ts'
import {
  encodeUdpPacket,
  FrpError,
  MessageDecoder,
  mostDatagramBytes,
  type UdpPacket,
  type UdpPacketCodec,
  type WireVersion,
} from './index.ts'

const forms: readonly (readonly [WireVersion, UdpPacketCodec])[] = [
  ['v1', 'json'],
  ['v2', 'json'],
  ['v2', 'binary-v1'],
]

function decode(
  bytes: Uint8Array,
  version: WireVersion,
  udpPacketCodec: UdpPacketCodec,
): UdpPacket | undefined {
  const decoder = new MessageDecoder(version, { udpPacketCodec })
  decoder.push(bytes)
  const message = decoder.next()
  return message?.name === 'UDPPacket' ? message.body : undefined
}

function decodeJson(json: string): UdpPacket | undefined {
  const head = Buffer.from('750000000000000000', 'hex')
  head.writeUInt32BE(Buffer.byteLength(json), 5)
  return decode(Buffer.concat([head, Buffer.from(json)]), 'v1', 'json')
}

const remote = { IP: '1.2.3.4', Port: 1234, Zone: '' }

const addresses = fc.oneof(
  fc.record({ IP: fc.ipV4(), Port: fc.integer({ min: 0, max: 65_535 }), Zone: fc.constant('') }),
  fc.record({
    IP: fc.constantFrom('::', '::1', 'fe80::1', '2001:db8::8:800:200c:417a'),
    Port: fc.integer({ min: 0, max: 65_535 }),
    Zone: fc.constantFrom('', 'eth0', 'a"b<c', 'zöne'),
  }),
)

describe.each(forms)('datagrams in %s, %s', (version, codec) => {
  it('come out as they went in', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), addresses, (content, address) => {
        const packet = decode(encodeUdpPacket(version, { content, remote: address }, codec), version, codec)
        expect(packet?.remote).toEqual(address)
        expect(Buffer.compare(packet?.content ?? Buffer.of(0, 0), content)).toBe(0)
      }),
    )
  })

  it('fit up to the size that is promised', () => {
    const address = { IP: `${'ffff:'.repeat(7)}ffff`, Port: 65_535, Zone: 'x'.repeat(16) }
    const content = Buffer.alloc(mostDatagramBytes(version, codec), 7)
    const packet = decode(encodeUdpPacket(version, { content, remote: address }, codec), version, codec)
    expect(packet?.content.length).toBe(content.length)
    const larger = { content: Buffer.alloc(content.length + 400), remote: address }
    expect(() => encodeUdpPacket(version, larger, codec)).toThrow(
      expect.objectContaining({ code: 'FRP_UNWRITABLE' }),
    )
  })

  it('do not go out to what is no address', () => {
    for (const Port of [-1, 65_536, 1.5]) {
      expect(() =>
        encodeUdpPacket(version, { content: Buffer.of(1), remote: { ...remote, Port } }, codec),
      ).toThrow(FrpError)
    }
  })

  it('of any bytes end in a datagram or a FrpError', () => {
    const whole = encodeUdpPacket(version, { content: Buffer.from('hello'), remote }, codec)
    fc.assert(
      fc.property(
        fc.nat(whole.length - 10),
        fc.integer({ min: 0, max: 255 }),
        fc.nat(9),
        (from, byte, cut) => {
          const bytes = Buffer.from(whole)
          bytes[from + 9] = byte
          try {
            decode(bytes.subarray(0, bytes.length - cut), version, codec)
          } catch (error) {
            expect(error).toBeInstanceOf(FrpError)
          }
        },
      ),
    )
  })
})

describe('datagrams in JSON', () => {
  it.each(goldenMessages.filter(([name]) => name === 'UDPPacket'))(
    'are read and written as frp does: %s %s',
    (_, json) => {
      const packet = decodeJson(json)
      if (packet === undefined) throw new Error('no packet')
      expect(encodeUdpPacket('v1', packet).toString('utf8', 9)).toBe(json)
    },
  )

  it('are read in any other form of the same JSON', () => {
    const packet = decodeJson('{ "R": {"zone":"","IP":"1.2.3.4","PORT":1234}, "l": null, "C":"aGVs\\nbG8=" }')
    expect(packet).toEqual({ content: Buffer.from('hello'), remote })
  })

  it('forget the address of the one before', () => {
    const decoder = new MessageDecoder('v1')
    const ports = [1, 1, 2, 1]
    for (const Port of ports) {
      decoder.push(encodeUdpPacket('v1', { content: Buffer.of(Port), remote: { ...remote, Port } }))
    }
    const read = ports.map(() => decoder.next())
    expect(read.map((one) => (one?.name === 'UDPPacket' ? one.body.remote?.Port : undefined))).toEqual(ports)
  })

  it.each([
    '{"c":"aGVsbG8"}',
    '{"c":"aGV*bG8="}',
    '{"c":"_-8="}',
    '{"c":"a=Vs"}',
    '{"c":[104]}',
    '{"c":"","r":{"IP":"1.2.3","Port":1,"Zone":""}}',
    '{"c":"aGVs","r":{"IP":"01.2.3.4","Port":1,"Zone":""}}',
    '{"c":"aGVs","r":{"IP":"1.2.3.4","Port":70000,"Zone":""}}',
    '{"c":"aGVs","r":{"IP":"1.2.3.4","Port":"1"}}',
    '{"c":"aGVs","l":{"IP":"x"}}',
    '{"c":"aGVs',
    '{"c":"aG\nVs","r":{"IP":"1.2.3.4","Port":1,"Zone":""}}',
    '',
  ])('are refused: %s', (json) => {
    expect(() => decodeJson(json)).toThrow(expect.objectContaining({ code: 'FRP_MESSAGE_INVALID' }))
  })
})

describe('binary datagrams', () => {
  // Written by frp 0.71.0.
  it.each([
    ['0010000000000012001302040102030404d200000568656c6c6f', { content: Buffer.from('hello'), remote }],
    [
      '001000000000001d00130206fe800000000000000000000000000001000104657468300000',
      { content: Buffer.alloc(0), remote: { IP: 'fe80::1', Port: 1, Zone: 'eth0' } },
    ],
  ])('are read and written as frp does: %s', (hex, packet) => {
    expect(decode(Buffer.from(hex, 'hex'), 'v2', 'binary-v1')).toEqual(packet)
    expect(encodeUdpPacket('v2', packet, 'binary-v1').toString('hex')).toBe(hex)
  })

  it('with a local address are read', () => {
    const hex = '00100000000000230013030620010db80000000000000000000000020007017a0409080706ffff00000178'
    const packet = { content: Buffer.from('x'), remote: { IP: '9.8.7.6', Port: 65_535, Zone: '' } }
    expect(decode(Buffer.from(hex, 'hex'), 'v2', 'binary-v1')).toEqual(packet)
  })

  it('are no JSON once they are agreed on', () => {
    const json = encodeUdpPacket('v2', { content: Buffer.of(1), remote })
    expect(() => decode(json, 'v2', 'binary-v1')).toThrow(
      expect.objectContaining({ code: 'FRP_MESSAGE_TYPE' }),
    )
  })

  it('carry a mapped address in its short form', () => {
    const mapped = encodeUdpPacket(
      'v2',
      { content: Buffer.of(1), remote: { ...remote, IP: '::ffff:1.2.3.4' } },
      'binary-v1',
    )
    expect(mapped.toString('hex', 10)).toBe('02040102030404d200000101')
  })

  it.each(['00', '04', '02', '0205', '0204010203', '02040102030404d201417a0000', '02040102030404d200000568'])(
    'are refused when they are damaged: %s',
    (hex) => {
      const body = Buffer.from(hex, 'hex')
      const head = Buffer.from('00100000000000000013', 'hex')
      head.writeUInt32BE(2 + body.length, 4)
      const bytes = Buffer.concat([head, body])
      expect(() => decode(bytes, 'v2', 'binary-v1')).toThrow(
        expect.objectContaining({ code: 'FRP_MESSAGE_INVALID' }),
      )
    },
  )
})
