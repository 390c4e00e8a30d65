import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { StunAttribute, StunClass, StunMethod, StunWriter } from '../../../protocols/stun/index.ts'
import { encodeChannelData } from '../../../protocols/turn/index.ts'
import { FakeDatapath } from '../core/fake-datapath.testkit.ts'
import { transaction, udpTransport } from '../core/test-client.testkit.ts'
import { StaticUsers } from '../credentials/static-users.ts'
import type { TurnLimits } from '../options.ts'
import { admitAll } from '../peers/fixed-policies.ts'
import { closeOf, TcpTestClient } from '../tcp-test-client.testkit.ts'
import { TurnServer } from '../turn-server.ts'

const peer = { address: '192.0.2.200', port: 9000 }

interface Running {
  readonly server: TurnServer
  readonly clock: ManualClock
  readonly datapath: FakeDatapath
  readonly port: number
  /** What the peer has got. */
  readonly heard: Buffer[]
}

async function running(limits: Partial<TurnLimits> = {}): Promise<Running> {
  const clock = new ManualClock()
  const datapath = new FakeDatapath({ clock })
  const server = new TurnServer({
    listeners: [
      {
        name: 'tcp',
        transport: 'tcp',
        listen: { host: '127.0.0.1', port: 0 },
        relays: [{ address: '10.0.0.1' }],
        peers: admitAll,
      },
    ],
    credentials: new StaticUsers([{ username: 'alice', password: 'wonderland' }]),
    limits,
    clock,
    datapath,
  })
  await server.start()
  const heard: Buffer[] = []
  datapath.peers.set(`${peer.address} ${peer.port}`, ({ bytes }) => heard.push(bytes))
  onTestFinished(async () => {
    await server.close()
    // Sockets say that they are closed a little after their server does.
    await expect
      .poll(() => [datapath.endpoints.size, datapath.flows.size, datapath.meters.size, clock.pending])
      .toEqual([0, 0, 0, 0])
  })
  return { server, clock, datapath, heard, port: server.ports.get('tcp') ?? 0 }
}

async function bound(port: number): Promise<{ client: TcpTestClient; relay: number }> {
  const client = await TcpTestClient.connect(port)
  const { port: relay } = await client.allocate()
  expect(await client.bind(0x4000, peer)).toBeUndefined()
  return { client, relay }
}

describe('a client by TCP', () => {
  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])(
    'sends ChannelData of %i bytes, which waits for nothing more',
    async (size) => {
      const { port, heard } = await running()
      const { client } = await bound(port)
      client.put(encodeChannelData(0x4000, Buffer.alloc(size, 'x'), true))
      expect((await client.refresh(600)).code).toBeUndefined()
      expect(heard).toEqual([Buffer.alloc(size, 'x')])
    },
  )

  it('may cut its messages anywhere', async () => {
    const { port, heard } = await running()
    const { client } = await bound(port)
    const bytes = Buffer.concat([
      encodeChannelData(0x4000, Buffer.from('one'), true),
      encodeChannelData(0x4000, Buffer.from('two two'), true),
    ])
    for (const byte of bytes) client.put(Buffer.from([byte]))
    expect((await client.refresh(600)).code).toBeUndefined()
    expect(heard.map(String)).toEqual(['one', 'two two'])
  })

  it('sends as much as a datagram holds, and more is dropped without harm', async () => {
    const { port, heard } = await running()
    const { client } = await bound(port)
    for (const size of [65_500, 65_507, 65_508, 65_533, 65_534, 65_535]) {
      client.put(encodeChannelData(0x4000, Buffer.alloc(size, 'x'), true))
    }
    client.put(encodeChannelData(0x4000, Buffer.from('next'), true))
    expect((await client.refresh(600)).code).toBeUndefined()
    expect(heard.map(({ length }) => length)).toEqual([65_500, 65_507, 4])
  })

  it('may send many requests at once', async () => {
    const { port } = await running()
    const client = await TcpTestClient.connect(port)
    await client.challenge()
    const requests = Array.from({ length: 50 }, () => client.signed(StunMethod.refresh))
    client.put(Buffer.concat(requests))
    await client.received(51)
    expect(client.inbox.slice(1).map((bytes) => client.read(bytes).code)).toEqual(Array(50).fill(437))
  })

  it('gets what its peers send, padded', async () => {
    const { port, datapath } = await running()
    const { client, relay } = await bound(port)
    const count = client.inbox.length
    const endpoint = datapath.endpointAt('10.0.0.1', relay)
    if (endpoint === undefined) throw new TypeError('no endpoint')
    datapath.receive(endpoint.id, peer, Buffer.from('abcde'))
    datapath.receive(endpoint.id, { ...peer, port: 1 }, Buffer.from('f'))
    await client.received(count + 2)
    expect(client.inbox[count]).toEqual(Buffer.from([0x40, 0, 0, 5, 0x61, 0x62, 0x63, 0x64, 0x65, 0, 0, 0]))
    expect(client.heard).toEqual(['0x4000 abcde', '192.0.2.200 1 f'])
  })

  it('that closes its connection loses its allocation', async () => {
    const { port, server } = await running()
    const { client } = await bound(port)
    expect(server.allocationCount).toBe(1)
    const other = await TcpTestClient.connect(port)
    client.socket.destroy()
    while (server.allocationCount > 0) await other.challenge()
  })

  it('that does not read loses data; it costs no memory, and others go on', async () => {
    const { port, server, datapath } = await running({ maxClientQueueBytes: 100_000, packetsPerSecond: 0 })
    const slow = await bound(port)
    const quick = await bound(port)
    slow.client.socket.pause()
    const [one, two] = [slow.relay, quick.relay].map((at) => datapath.endpointAt('10.0.0.1', at)?.id)
    if (one === undefined || two === undefined) throw new TypeError('no endpoint')
    for (let i = 0; i < 400; i++) datapath.receive(one, peer, Buffer.alloc(60_000))
    const count = quick.client.inbox.length
    datapath.receive(two, peer, Buffer.from('quick'))
    await quick.client.received(count + 1)
    expect(quick.client.heard).toEqual(['0x4000 quick'])
    const dropped = server.listAllocations().map((info) => info.dropped)
    expect(dropped[0]).toBeGreaterThan(200)
    expect(dropped[1]).toBe(0)
  })
})

describe('a stranger by TCP', () => {
  it.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['TLS', Buffer.from([0x16, 3, 1, 2, 0, 1, 0])],
    ['RTP', Buffer.from([0x80, 0, 0, 1])],
    ['a STUN message whose length is no multiple of four', Buffer.from([0, 1, 0, 3, 0x21, 0x12, 0xa4, 0x42])],
    ['a STUN message as long as can be', Buffer.from([0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42])],
    ['ChannelData as long as can be', Buffer.from([0x40, 0, 0xff, 0xff])],
  ])('that speaks %s is cut', async (_title, bytes) => {
    const { port } = await running()
    const client = await TcpTestClient.connect(port)
    client.put(bytes)
    await closeOf(client.socket)
  })

  it('that says nothing of use is cut after a while; who has an allocation is not', async () => {
    const { port, clock } = await running({ idleSeconds: 30 })
    const stranger = await TcpTestClient.connect(port)
    const { client } = await bound(port)
    await stranger.challenge()
    clock.advance(29_000)
    expect(stranger.socket.destroyed).toBe(false)
    clock.advance(1001)
    await closeOf(stranger.socket)
    clock.advance(60_000)
    expect((await client.refresh(600)).code).toBeUndefined()
    await client.refresh(0)
    clock.advance(30_001)
    await closeOf(client.socket)
  })

  it('may send half a message and leave', async () => {
    const { port, server } = await running()
    const client = await TcpTestClient.connect(port)
    const request = new StunWriter(StunMethod.allocate, StunClass.request, transaction())
    udpTransport(request)
    client.put(request.finish().subarray(0, 13))
    client.socket.end()
    await closeOf(client.socket)
    expect(server.allocationCount).toBe(0)
  })

  it('is told its address as it is', async () => {
    const { port } = await running()
    const client = await TcpTestClient.connect(port)
    const answer = await client.ask(
      new StunWriter(StunMethod.binding, StunClass.request, transaction()).finish(),
    )
    expect(answer?.message.attribute(StunAttribute.xorMappedAddress)).toBeDefined()
  })
})
