import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ClientHandshake, ServerHandshake } from './handshake.ts'

const random = (fill: number) => (size: number) => Buffer.alloc(size, fill)

function feed(
  handshake: ServerHandshake | ClientHandshake,
  bytes: Uint8Array,
  sizes: readonly number[],
): { readonly sent: Buffer; readonly rest: Buffer | undefined } {
  const sent: Buffer[] = []
  let at = 0
  for (let turn = 0; at < bytes.length; turn++) {
    const to = at + (sizes[turn % sizes.length] ?? 1)
    const step = handshake.receive(bytes.subarray(at, to))
    sent.push(step.send)
    at = to
    if (step.rest !== undefined) {
      return { sent: Buffer.concat(sent), rest: Buffer.concat([step.rest, bytes.subarray(to)]) }
    }
  }
  return { sent: Buffer.concat(sent), rest: undefined }
}

const anySizes = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 5 })

describe('server', () => {
  const c1 = Buffer.concat([Buffer.from('0102030480000702', 'hex'), Buffer.alloc(1528, 0xcc)])

  test('answers C0 and C1 with version 3, own random bytes and an exact echo, however cut', () => {
    fc.assert(
      fc.property(anySizes, (sizes) => {
        const bytes = Buffer.concat([Buffer.of(3), c1, Buffer.alloc(1536, 0xee), Buffer.from('rest')])
        const { sent, rest } = feed(new ServerHandshake(random(0xaa)), bytes, sizes)
        expect(sent).toEqual(Buffer.concat([Buffer.of(3), Buffer.alloc(8), Buffer.alloc(1528, 0xaa), c1]))
        expect(rest?.toString()).toBe('rest')
      }),
    )
  })

  test('says nothing before C1 is complete, and is not done before C2 is', () => {
    const handshake = new ServerHandshake(random(0))
    const first = handshake.receive(Buffer.concat([Buffer.of(3), c1.subarray(1)]))
    expect([first.send.length, first.rest]).toEqual([0, undefined])
    const second = handshake.receive(Buffer.alloc(1536))
    expect([second.send.length, second.rest]).toEqual([3073, undefined])
    expect(handshake.receive(Buffer.alloc(1)).rest?.length).toBe(0)
  })

  test.each([0, 6, 0x16, 0x47])('refuses version %i at its first byte', (version) => {
    expect(() => new ServerHandshake(random(0)).receive(Buffer.of(version))).toThrow(
      expect.objectContaining({ code: 'RTMP_HANDSHAKE', side: 'client' }),
    )
  })
})

describe('client', () => {
  test('completes a handshake with our server, cut anywhere', () => {
    fc.assert(
      fc.property(anySizes, anySizes, (toServer, toClient) => {
        const client = new ClientHandshake(random(1))
        const server = new ServerHandshake(random(2))
        const answer = feed(server, client.hello, toServer)
        const reply = feed(client, Buffer.concat([answer.sent, Buffer.from('x')]), toClient)
        expect(reply.rest?.toString()).toBe('x')
        expect(reply.sent).toEqual(answer.sent.subarray(1, 1537))
        expect(feed(server, Buffer.concat([reply.sent, Buffer.from('y')]), toServer).rest?.toString()).toBe(
          'y',
        )
      }),
    )
  })

  test('blames the origin for another version', () => {
    expect(() => new ClientHandshake(random(0)).receive(Buffer.from('HTTP/1.1'))).toThrow(
      expect.objectContaining({ code: 'RTMP_HANDSHAKE', side: 'origin' }),
    )
  })
})
