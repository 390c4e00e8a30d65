import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { type IceClient, openIceClient } from './harness/ice-client.ts'
import { type StandInOrigin, startStandInOrigin } from './harness/stand-in-origin.ts'

let gateway: Gateway
let origin: StandInOrigin
let session: IceClient

beforeAll(async () => {
  gateway = await startGateway()
  origin = await startStandInOrigin(gateway.registrationUrl)
  session = await openIceClient(`${gateway.url}/live/running/whep`)
  await session.exchange(session.check())
})

afterAll(async () => {
  await session[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  const { code } = await gateway.stop()
  expect(code).toBe(0)
})

afterEach(async () => {
  expect(gateway.program.isRunning).toBe(true)
  // The running session goes on, and a new one begins.
  const media = Buffer.concat([Buffer.from([0x80, 96, 0, 1]), randomBytes(200)])
  expect((await session.exchange(media)).equals(media)).toBe(true)
  await using other = await openIceClient(`${gateway.url}/live/other/whep`)
  const check = other.check()
  expect((await other.exchange(check)).equals(check)).toBe(true)
  expect(await other.end()).toBe(200)
})

describe('datagrams on the media port', () => {
  let check: Buffer

  beforeEach(() => {
    check = session.check()
  })

  const binding = (length: number, rest: Uint8Array): Buffer =>
    Buffer.concat([
      Buffer.from([0, 1, length >> 8, length & 0xff, 0x21, 0x12, 0xa4, 0x42]),
      Buffer.alloc(12, 7),
      rest,
    ])

  const crafted: readonly (readonly [name: string, make: () => readonly Uint8Array[]])[] = [
    ['a STUN message of 22 bytes', () => [binding(2, Buffer.alloc(2))]],
    [
      'an attribute of odd length without its padding',
      () => [binding(9, Buffer.from([0, 6, 0, 5, 65, 66, 67, 68, 69]))],
    ],
    [
      'a username that is longer than the message',
      () => [binding(8, Buffer.from([0, 6, 255, 255, 1, 2, 3, 4]))],
    ],
    [
      'SRT handshakes that came to the wrong port',
      () => [srtConclusion(Buffer.alloc(2)), srtConclusion(Buffer.alloc(3)), srtConclusion(srtStreamId)],
    ],
    ['every prefix of a sound check', () => Array.from(check, (_, length) => check.subarray(0, length))],
    [
      'a sound check with each byte changed that its integrity covers',
      () => Array.from(check.subarray(0, -fingerprintBytes), (_, at) => changed(check, at)),
    ],
    ['a sound check with rubbish behind it', () => [Buffer.concat([check, randomBytes(40)])]],
    ['nothing', () => [Buffer.alloc(0)]],
    ['the largest datagrams', () => [0, 1, 22, 80, 255].map((first) => Buffer.alloc(65_507, first))],
    [
      'random bytes of every first byte',
      () =>
        Array.from({ length: 1_024 }, (_, index) => {
          const bytes = randomBytes(1 + ((index * 37) % 1_400))
          bytes[0] = index & 0xff
          return bytes
        }),
    ],
  ]

  test.each(crafted)('%s: nothing comes back, and nobody is harmed', async (_name, make) => {
    const socket = createSocket('udp4')
    const answers: Buffer[] = []
    socket.on('message', (message) => answers.push(message))
    for (const datagram of make()) {
      await new Promise<void>((resolve, reject) => {
        socket.send(datagram, gateway.ports.webrtc, '127.0.0.1', (error) =>
          error ? reject(error) : resolve(),
        )
      })
    }
    // A session's own exchange comes behind all of these.
    await session.exchange(Buffer.concat([Buffer.from([0x80, 96]), randomBytes(30)]))
    socket.close()
    await once(socket, 'close')
    expect(answers).toEqual([])
  })
})

describe('bytes on the TCP ports', () => {
  const ports = ['http', 'rtmp', 'registration', 'admin'] as const
  const bodies: readonly (readonly [name: string, make: () => Uint8Array])[] = [
    ['random bytes', () => randomBytes(100_000)],
    ['zeros', () => Buffer.alloc(100_000)],
    ['one byte', () => Buffer.from([3])],
    [
      'an RTMP handshake and then random bytes',
      () => Buffer.concat([Buffer.from([3]), randomBytes(1536 * 2 + 50_000)]),
    ],
    [
      'an RTMP handshake and a message of 16 MB that never comes',
      () =>
        Buffer.concat([
          Buffer.from([3]),
          Buffer.alloc(1536 * 2),
          Buffer.from([3, 0, 0, 0, 255, 255, 255, 20, 0, 0, 0, 0]),
          Buffer.alloc(1000),
        ]),
    ],
    ['half of a request head', () => Buffer.from('POST /live/a/whip HTTP/1.1\r\nHost: x\r\nContent-Le')],
    [
      'a request head without end',
      () => Buffer.from(`GET / HTTP/1.1\r\n${'X-Filler: y\r\n'.repeat(20_000)}`),
    ],
    [
      'a body that is longer than it says',
      () => Buffer.from('POST /live/a/whip HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcdefgh\r\n\r\n'),
    ],
    [
      'a body that is much too long',
      () =>
        Buffer.concat([
          Buffer.from('POST /api/v1/srs/register HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n'),
          Buffer.alloc(3_000_000, 91),
        ]),
    ],
    [
      'escapes and traversals in the path',
      () =>
        Buffer.from(
          ['/%', '/%00', '/..%2f..%2fetc%2fpasswd', '/live/%ff.flv', '//', `/${'a/'.repeat(3000)}b.flv`]
            .map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
            .join(''),
        ),
    ],
  ]
  const cases = ports.flatMap((port) => bodies.map(([name, make]) => ({ port, name, make })))

  test.each(cases)('on the $port port: $name', async ({ port, make }) => {
    await sendBytes(gateway.ports[port], make())
  })

  test('SDP that is none, or has no ICE credentials, is refused with a code and no inner address', async () => {
    for (const body of ['', 'v=0', 'v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n', 'x'.repeat(1_000_000)]) {
      const response = await fetch(`${gateway.url}/live/a/whip`, {
        method: 'POST',
        headers: { 'content-type': 'application/sdp' },
        body,
      })
      const text = await response.text()
      expect([400, 413]).toContain(response.status)
      expect(JSON.parse(text)).toMatchObject({ code: expect.any(String) as string })
      expect(text).not.toContain('127.0.0.1')
    }
  })

  test('registrations that are none are refused', async () => {
    for (const body of ['', '{', '[]', 'null', '{"ip":1}', JSON.stringify({ ip: 'x'.repeat(10_000) })]) {
      const response = await fetch(gateway.registrationUrl, { method: 'POST', body })
      expect(response.status).toBeGreaterThanOrEqual(400)
      expect(JSON.parse(await response.text())).not.toMatchObject({ code: 0 })
    }
  })
})

/** Sends bytes, closes its side, and waits until the gateway has closed too or said what it has to say. */
async function sendBytes(port: number, bytes: Uint8Array): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  // The gateway may cut the connection while we still write.
  socket.on('error', () => {})
  socket.resume()
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.end(bytes)
  const timer = setTimeout(() => socket.destroy(), 1_000)
  await closed
  clearTimeout(timer)
}

/** The last attribute of a check: nobody signs it. */
const fingerprintBytes = 8

function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 0xff
  return copy
}

const srtStreamId = Buffer.concat([Buffer.from([0, 5, 0, 4]), Buffer.from('::!#vil=ts/e')])

/** A conclusion with a cookie and no induction before it. */
function srtConclusion(extensions: Uint8Array): Buffer {
  const bytes = Buffer.alloc(64)
  bytes[0] = 0x80
  bytes.writeUInt32BE(5, 16)
  bytes.writeUInt16BE(5, 22)
  bytes.writeUInt32BE(0xffffffff, 36)
  bytes.writeUInt32BE(77, 40)
  bytes.writeUInt32BE(0x418d5e4e, 44)
  return Buffer.concat([bytes, extensions])
}
