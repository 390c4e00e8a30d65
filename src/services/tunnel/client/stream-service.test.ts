import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { createDatapath } from '../../../mechanisms/datapath/index.ts'
import { memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { cfbKey, type StartWorkConn } from '../../../protocols/frp/index.ts'
import { payloadLayers } from '../payload-layers.ts'
import { plainTransport, portProxy } from './client-config.testkit.ts'
import { Joins } from './joins.ts'
import { LocalDialer } from './local-dialer.ts'
import { StreamService } from './stream-service.ts'
import { reading, settle } from './tunnel-client.testkit.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const start: StartWorkConn = {
  proxy_name: 'p',
  src_addr: 'fe80::1%eth0',
  src_port: 1000,
  dst_addr: '::1',
  dst_port: 6000,
  error: '',
}
const agreed = { wireVersion: 'v1', halfClose: true, udpPacketCodec: 'json' } as const

async function serving(
  changes: Parameters<typeof portProxy>[2] = {},
  onConnection: (socket: Socket) => void = (socket) => void socket.pipe(socket),
) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    closers.push(() => socket.destroy())
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const clock = new ManualClock()
  const joins = new Joins(clock, undefined)
  const dialer = new LocalDialer(clock)
  const service = new StreamService(
    portProxy('tcp', 'p', { localPort: (server.address() as AddressInfo).port, ...changes }),
    {
      token: 'secret',
      clock,
      log: silentLogger(),
      datapath: createDatapath({ engine: 'node' }),
      dialLocal: dialer.connect,
      joins,
    },
  )
  closers.push(
    () => server.close(),
    () => joins.close(0),
  )
  return { service, clock, joins, dialer }
}

it('a service that is named is found, and bytes go through the layers of the proxy', async () => {
  const transport = { ...plainTransport, useEncryption: true, useCompression: true }
  const { service, joins, clock } = await serving({ transport, localIP: 'localhost' })
  const [near, far] = memoryStreamPair()
  service.serve(near, start, agreed)
  const user = payloadLayers(far, { key: cfbKey('secret'), isCompressed: true })
  const answer = reading(user)
  user.write(Buffer.from('hello'))
  user.end()
  await eventually(() => expect(answer.isEnded).toBe(true))
  expect(answer.text()).toBe('hello')
  await eventually(() => expect(joins.size).toBe(0))
  expect(clock.pending).toBe(0)
})

it('a limit of the client holds for all connections of the proxy together', async () => {
  const { service, clock } = await serving({ transport: { ...plainTransport, bandwidthLimit: '10KB' } })
  const pairs = [memoryStreamPair(), memoryStreamPair()] as const
  const answers = pairs.map(([, far]) => reading(far))
  for (const [near, far] of pairs) {
    service.serve(near, start, agreed)
    far.write(Buffer.alloc(20_480))
  }
  const received = (): number => answers.reduce((sum, answer) => sum + answer.text().length, 0)
  const afterSeconds: number[] = []
  for (let second = 1; received() < 40_960; second++) {
    for (let i = 0; i < 20; i++) {
      clock.advance(50)
      await settle()
    }
    afterSeconds.push(received())
    if (second > 20) break
  }
  // 40 KB there and 40 KB back, at 10 KB a second and with 10 KB at once.
  expect(afterSeconds.length).toBeGreaterThanOrEqual(7)
  expect(afterSeconds.length).toBeLessThanOrEqual(9)
})

it('tells a service of IPv6 addresses by version 2 of the PROXY protocol, without their zones', async () => {
  const heard: Buffer[] = []
  const transport = { ...plainTransport, proxyProtocolVersion: 'v2' } as const
  const { service } = await serving({ transport }, (socket) =>
    socket.on('data', (bytes) => heard.push(bytes)),
  )
  service.serve(memoryStreamPair()[0], start, agreed)
  await eventually(() => expect(Buffer.concat(heard)).toHaveLength(16 + 36))
  expect(Buffer.concat(heard)[13]).toBe(0x21)
})

it('a server that names no addresses ends the connection', async () => {
  const transport = { ...plainTransport, proxyProtocolVersion: 'v1' } as const
  const { service } = await serving({ transport })
  const [near, far] = memoryStreamPair()
  const user = reading(far)
  service.serve(near, { ...start, src_addr: 'not an address' }, agreed)
  await eventually(() => expect(user.isClosed).toBe(true))
  expect(user.error).toBeDefined()
})

it('who hangs up while the service is dialled leaves nothing open', async () => {
  const sockets: Socket[] = []
  const { service, joins } = await serving({}, (socket) => void sockets.push(socket.resume()))
  const [near, far] = memoryStreamPair()
  service.serve(near, start, agreed)
  far.destroy(new Error('gone'))
  await eventually(() => expect(sockets).toHaveLength(1))
  await eventually(() => expect(sockets[0]?.readableEnded).toBe(true))
  expect(joins.size).toBe(0)
})

it('one connection too many is refused', async () => {
  const { service, joins } = await serving()
  const releases = Array.from({ length: 10_000 }, () => joins.hold())
  const [near, far] = memoryStreamPair()
  const user = reading(far)
  service.serve(near, start, agreed)
  await eventually(() => expect(user.error).toBeDefined())
  for (const release of releases) release()
})

it('a dialler that is closed breaks off what is under way, and a dial that takes 10 s fails', async () => {
  const clock = new ManualClock()
  // Nobody answers there: TEST-NET-1 (RFC 5737).
  const nowhere = { host: '192.0.2.1', port: 9 }
  const dialer = new LocalDialer(clock)
  const late = dialer.connect(nowhere)
  late.catch(() => undefined)
  clock.advance(10_000)
  await expect(late).rejects.toMatchObject({ code: 'TUNNEL_TIMEOUT' })
  const cut = dialer.connect(nowhere)
  cut.catch(() => undefined)
  dialer.close()
  await expect(cut).rejects.toThrow()
  expect(clock.pending).toBe(0)
})
