import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeHandshake } from '../src/protocols/srt/index.ts'
import { type AttackedGateway, startAttackedGateway } from './harness/attacked-gateway.ts'
import type { Bystanders } from './harness/bystanders.ts'
import type { Gateway } from './harness/gateway.ts'
import { total } from './harness/metrics.ts'
import { induction } from './harness/srt-induction.ts'
import { until } from './harness/until.ts'

const COUNT = 1_000
/** What one connection may hold of the heap while nothing comes of it. (Measured: at most 12 KB, within an HTTP body.) */
const heapBytesEach = 40_000
/** What may be left of a thousand. (Measured: at most 1 MB, of the first ones.) */
const heapBytesLeft = 4_000_000
/** Of the whole process, at any time. (Measured: 235 MB at the end.) */
const residentBytes = 450_000_000

let attacked: AttackedGateway
let gateway: Gateway
let bystanders: Bystanders
let tcpPort = 0

beforeAll(async () => {
  attacked = await startAttackedGateway()
  ;({ gateway, bystanders, tcpPort } = attacked)
}, 120_000)

afterAll(async () => {
  const { code } = await attacked.stop()
  expect(code).toBe(0)
}, 60_000)

const halfHello = Buffer.from('16030102000100', 'hex')
const halfHead = Buffer.from('POST /live/s/whip HTTP/1.1\r\nHost: x\r\nContent-Le')
const halfBody = Buffer.from('POST /live/s/whip HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nv=0\r\n')

test.each([
  [
    'RTMP, within the handshake',
    () => gateway.ports.rtmp,
    Buffer.concat([Buffer.from([3]), Buffer.alloc(700)]),
  ],
  [
    'RTMP, behind the handshake',
    () => gateway.ports.rtmp,
    Buffer.concat([Buffer.from([3]), Buffer.alloc(3_072)]),
  ],
  ['RTMPS, within the ClientHello', () => gateway.ports.rtmps, halfHello],
  ['HTTP, within the head', () => gateway.ports.http, halfHead],
  ['HTTP, within the body', () => gateway.ports.http, halfBody],
  ['HTTPS, within the ClientHello', () => gateway.ports.https, halfHello],
  ['ICE-TCP, within the first frame', () => tcpPort, Buffer.from([0, 100, 0, 1])],
  ['registration, within the head', () => gateway.ports.registration, halfHead],
  ['registration, without a byte', () => gateway.ports.registration, Buffer.alloc(0)],
] as const)(
  'a thousand half-open connections of %s cost little, keep out nobody, and are closed',
  async (_, port, bytes) => {
    const before = await state()
    const sockets = await openAll(port(), bytes)
    await bystanders.untilUnharmed()
    const during = await state()
    expect(during.heapBytes - before.heapBytes).toBeLessThan(COUNT * heapBytesEach)
    expect(during.residentBytes).toBeLessThan(residentBytes)
    await until('all to be closed', () => sockets.every((socket) => socket.destroyed), { deadlineMs: 90_000 })
    await bystanders.untilUnharmed()
    const after = await until(
      'descriptors to be given back',
      async () => {
        const now = await state()
        return now.descriptors <= before.descriptors + 20 && now
      },
      { deadlineMs: 30_000, everyMs: 500 },
    )
    expect(after.heapBytes - before.heapBytes).toBeLessThan(heapBytesLeft)
  },
  150_000,
)

test('a thousand half handshakes of SRT leave nothing at all', async () => {
  const before = await state()
  const sockets = await Promise.all(Array.from({ length: 20 }, () => boundSocket()))
  let answers = 0
  for (const socket of sockets) socket.on('message', () => answers++)
  for (let id = 1; id <= COUNT; id++) {
    const socket = sockets[id % sockets.length]
    await new Promise((resolve) =>
      socket?.send(encodeHandshake(induction(id)), gateway.ports.srt, '127.0.0.1', resolve),
    )
  }
  await until('most answers', () => answers > COUNT / 2)
  await bystanders.untilUnharmed()
  const after = await state()
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 5)
  expect(after.heapBytes - before.heapBytes).toBeLessThan(2_000_000)
  for (const socket of sockets) socket.close()
}, 60_000)

interface State {
  readonly heapBytes: number
  readonly residentBytes: number
  readonly descriptors: number
}

async function state(): Promise<State> {
  const heapBytes = await gateway.heapBytes()
  const resident = total(await gateway.metrics(), 'process_resident_memory_bytes')
  return { heapBytes, residentBytes: resident, descriptors: gateway.openDescriptors() }
}

/** Each has sent its bytes, or was closed already. They come from several addresses, so that no bound for one is met. */
async function openAll(port: number, bytes: Uint8Array): Promise<readonly Socket[]> {
  const sockets: Socket[] = []
  for (let opened = 0; opened < COUNT; opened += 50) {
    const some = Array.from({ length: 50 }, (_, index) =>
      connectTcp({ port, host: '127.0.0.1', localAddress: `127.0.1.${1 + (index % 25)}` }),
    )
    await Promise.all(some.map((socket) => opens(socket, bytes)))
    sockets.push(...some)
  }
  return sockets
}

async function opens(socket: Socket, bytes: Uint8Array): Promise<void> {
  // The gateway may cut it at any time.
  socket.on('error', () => {})
  socket.resume()
  await once(socket, 'connect')
  if (bytes.length > 0) await new Promise((resolve) => socket.write(bytes, resolve))
}

async function boundSocket(): Promise<ReturnType<typeof createSocket>> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}
