import { describe, expect, it } from 'vitest'
import {
  decodeXorAddress,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  StunWriter,
} from '../../../protocols/stun/index.ts'
import { decodeIcmp } from '../../../protocols/turn/index.ts'
import { family, transaction, udpAnd } from './test-client.testkit.ts'
import { type AllocatedClient, TurnKit } from './turn-kit.testkit.ts'

const peer = { address: '192.0.2.200', port: 9000 }

async function permitted(kit: TurnKit): Promise<AllocatedClient> {
  const allocated = await kit.allocated()
  await allocated.client.permit(peer)
  return allocated
}

describe('a Send indication', () => {
  it('goes out of the relayed address, also when it is empty', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await permitted(kit)
    const far = kit.peer(peer.address, peer.port)
    client.sendTo(peer, 'data')
    client.sendTo(peer, '')
    expect(far.inbox).toEqual([
      { from: relayed, data: 'data' },
      { from: relayed, data: '' },
    ])
  })

  it.each([
    ['without DATA', (writer: StunWriter) => writer.xorAddress(StunAttribute.xorPeerAddress, peer)],
    ['without a peer', (writer: StunWriter) => writer.attribute(StunAttribute.data, Buffer.from('x'))],
    [
      'with a malformed peer',
      (writer: StunWriter) =>
        writer
          .attribute(StunAttribute.xorPeerAddress, new Uint8Array(3))
          .attribute(StunAttribute.data, Buffer.from('x')),
    ],
    [
      'with an attribute that must be understood and is not',
      (writer: StunWriter) =>
        writer
          .xorAddress(StunAttribute.xorPeerAddress, peer)
          .attribute(StunAttribute.data, Buffer.from('x'))
          .attribute(0x7001, new Uint8Array(0)),
    ],
    [
      'with DONT-FRAGMENT, which the engine cannot do',
      (writer: StunWriter) =>
        writer
          .xorAddress(StunAttribute.xorPeerAddress, peer)
          .attribute(StunAttribute.dontFragment, new Uint8Array(0))
          .attribute(StunAttribute.data, Buffer.from('x')),
    ],
  ])('%s is dropped in silence', async (_title, build) => {
    const kit = await TurnKit.open()
    const { client } = await permitted(kit)
    const far = kit.peer(peer.address, peer.port)
    const before = client.inbox.length
    const writer = new StunWriter(StunMethod.send, StunClass.indication, transaction())
    build(writer)
    client.put(writer.finish())
    expect([far.heard, client.inbox.length, kit.data.dropped.malformed]).toEqual([[], before, 1])
  })

  it('that comes to us is dropped with a wrong FINGERPRINT, not with a right one, nor with an integrity', async () => {
    const kit = await TurnKit.open()
    const client = kit.streamClient()
    await client.allocate()
    await client.permit(peer)
    const far = kit.peer(peer.address, peer.port)
    const sending = (data: string): StunWriter =>
      new StunWriter(StunMethod.send, StunClass.indication, transaction())
        .xorAddress(StunAttribute.xorPeerAddress, peer)
        .attribute(StunAttribute.data, Buffer.from(data))
    client.put(sending('marked').fingerprint().finish())
    client.put(sending('signed').integrity(new Uint8Array(16)).fingerprint().finish())
    const wrong = sending('wrong').fingerprint().finish()
    wrong.writeUInt8(wrong.readUInt8(wrong.length - 1) ^ 1, wrong.length - 1)
    client.put(wrong)
    expect([far.heard, kit.core.stats.malformed]).toEqual([['marked', 'signed'], 1])
  })

  it('takes the first of each attribute', async () => {
    const kit = await TurnKit.open()
    const { client } = await permitted(kit)
    const far = kit.peer(peer.address, peer.port)
    client.put(
      new StunWriter(StunMethod.send, StunClass.indication, transaction())
        .xorAddress(StunAttribute.xorPeerAddress, peer)
        .xorAddress(StunAttribute.xorPeerAddress, { address: '192.0.2.66', port: 6 })
        .attribute(StunAttribute.data, Buffer.from('first'))
        .attribute(StunAttribute.data, Buffer.from('second'))
        .finish(),
    )
    expect(far.heard).toEqual(['first'])
  })

  it('with DONT-FRAGMENT is sent so, where the engine can', async () => {
    const kit = await TurnKit.open({ features: ['dont-fragment'] })
    const { client } = await permitted(kit)
    client.sendTo(peer, 'whole', (writer) => writer.attribute(StunAttribute.dontFragment, new Uint8Array(0)))
    client.sendTo(peer, 'cut')
    expect(
      kit.datapath.sent.filter(({ to }) => to.port === peer.port).map((one) => one.dontFragment),
    ).toEqual([true, false])
  })

  it('without an allocation is dropped and counted', async () => {
    const kit = await TurnKit.open()
    kit.client().sendTo(peer, 'x')
    kit.client().sendChannel(0x4000, 'x')
    expect(kit.data.dropped['no-allocation']).toBe(2)
  })

  it('that the engine does not take is counted', async () => {
    const kit = await TurnKit.open()
    const { client } = await permitted(kit)
    kit.datapath.refuses = ({ port }) => port === peer.port
    client.sendTo(peer, 'x')
    expect(kit.data.dropped.queue).toBe(1)
  })

  it('to port 0 goes nowhere', async () => {
    const kit = await TurnKit.open()
    const { client } = await permitted(kit)
    client.sendTo({ address: peer.address, port: 0 }, 'x')
    expect(kit.data.dropped['no-permission']).toBe(1)
  })
})

describe('ChannelData', () => {
  it.each([
    ['shorter than its header', Buffer.from([0x40, 0])],
    ['shorter than its length says', Buffer.from([0x40, 0, 0, 4, 1, 2, 3])],
    ['nearly as long as can be said', Buffer.from([0x40, 0, 0xff, 0xff, 1, 2, 3])],
  ])('%s is dropped, of a client by UDP and by TCP', async (_title, bytes) => {
    const kit = await TurnKit.open()
    for (const client of [kit.client(), kit.streamClient()]) {
      await client.allocate()
      await client.bind(0x4000, peer)
      const far = kit.peer(peer.address, peer.port)
      client.put(bytes)
      expect(far.heard).toEqual([])
    }
  })

  it('longer than its length says loses the tail; one of no bytes is a datagram of none', async () => {
    const kit = await TurnKit.open()
    for (const client of [kit.client(), kit.streamClient()]) {
      await client.allocate()
      await client.bind(0x4000, peer)
      const far = kit.peer(peer.address, peer.port)
      client.put(Buffer.from([0x40, 0, 0, 2, 0x61, 0x62, 0x63, 0x64, 0x65]))
      client.put(Buffer.from([0x40, 0, 0, 0]))
      expect(far.heard).toEqual(['ab', ''])
    }
  })
})

describe('large datagrams', () => {
  it('pass whole, both ways, or not at all', async () => {
    const kit = await TurnKit.open()
    const udp = kit.client()
    const tcp = kit.streamClient()
    const far = kit.peer(peer.address, peer.port)
    for (const client of [udp, tcp]) {
      const relayed = await client.allocate()
      await client.permit(peer)
      // More than a client by UDP can be sent, with what an indication adds.
      for (const size of [16_381, 65_000, 65_468, 65_507]) far.send(relayed, 'x'.repeat(size))
      client.sendTo(peer, 'y'.repeat(65_435))
    }
    const sizes = (heard: readonly string[]) => heard.map((text) => text.split(' ')[2]?.length)
    expect(sizes(udp.heard)).toEqual([16_381, 65_000, 65_468])
    expect(sizes(tcp.heard)).toEqual([16_381, 65_000, 65_468, 65_507])
    // The flow has dropped it.
    const [info] = [...kit.state.allocations.all()].map((one) => kit.core.view(one))
    expect([info?.dropped, kit.data.dropped.queue]).toEqual([1, 0])
    expect(far.heard.map(({ length }) => length)).toEqual([65_435, 65_435])
  })

  it('of 64 KB pass channels whole too', async () => {
    const kit = await TurnKit.open()
    const client = kit.streamClient()
    const relayed = await client.allocate()
    const far = kit.peer(peer.address, peer.port)
    await client.bind(0x4000, peer)
    far.send(relayed, 'x'.repeat(65_507))
    client.sendChannel(0x4000, 'y'.repeat(65_507))
    expect([client.heard[0]?.length, far.heard[0]?.length]).toEqual([7 + 65_507, 65_507])
    // More than UDP carries.
    client.sendChannel(0x4000, 'z'.repeat(65_535))
    expect([far.heard.length, kit.data.dropped.queue]).toEqual([1, 1])
  })
})

describe('a Data indication', () => {
  it('pads with zeros, whatever was sent before (CVE-2020-4067)', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await permitted(kit)
    const far = kit.peer(peer.address, peer.port)
    far.send(relayed, 'secret secret secret')
    far.send(relayed, 'x')
    const last = client.inbox.at(-1) ?? Buffer.alloc(0)
    expect([...last.subarray(-4)]).toEqual([0x78, 0, 0, 0])
  })

  it('has a transaction id of its own', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await permitted(kit)
    const far = kit.peer(peer.address, peer.port)
    for (let i = 0; i < 100; i++) far.send(relayed, 'x')
    const ids = client.inbox.slice(-100).map((bytes) => bytes.subarray(8, 20).toString('hex'))
    expect(new Set(ids).size).toBe(100)
  })
})

describe('a client by TCP that does not read', () => {
  it('loses data, which is counted', async () => {
    const kit = await TurnKit.open()
    const client = kit.streamClient()
    const relayed = await client.allocate()
    const far = kit.peer(peer.address, peer.port)
    await client.bind(0x4000, peer)
    client.isFull = true
    far.send(relayed, 'lost')
    client.isFull = false
    far.send(relayed, 'kept')
    expect([client.heard, kit.data.dropped.queue]).toEqual([['0x4000 kept'], 1])
    const [info] = [...kit.state.allocations.all()].map((one) => kit.core.view(one))
    expect([info?.received.packets, info?.dropped]).toEqual([1, 1])
  })
})

describe('peers with many ports', () => {
  it('are all heard and reached, though only so many have flows', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await permitted(kit)
    await client.bind(0x4000, { address: peer.address, port: 1 })
    for (let port = 2; port < 1002; port++) kit.peer(peer.address, port).send(relayed, 'x')
    expect(client.heard).toHaveLength(1000)
    expect(kit.held()['flows']).toBeLessThan(600)
    const far = kit.peer(peer.address, 2000)
    client.sendTo(far, 'y')
    expect(far.heard).toEqual(['y'])
    // The channel was not made to go.
    const bound = kit.peer(peer.address, 1)
    client.sendChannel(0x4000, 'z')
    expect(bound.heard).toEqual(['z'])
    const [info] = [...kit.state.allocations.all()].map((one) => kit.core.view(one))
    expect([info?.received.packets, info?.sent.packets]).toEqual([1000, 2])
  })

  it('may all have channels', async () => {
    const kit = await TurnKit.open()
    const { client } = await permitted(kit)
    for (let i = 0; i < 200; i++) {
      expect(await client.bind(0x4000 + i, { address: peer.address, port: 1000 + i })).toBeUndefined()
    }
    const far = kit.peer(peer.address, 1000)
    client.sendChannel(0x4000, 'first')
    expect(far.heard).toEqual(['first'])
  })
})

describe('ICMP errors', () => {
  it.each([
    [3, 3, 0, true],
    [3, 4, 1400, true],
    [11, 0, 0, true],
    [4, 0, 0, false],
    [8, 0, 0, false],
    [5, 1, 0, false],
  ])('of IPv4 with type %i and code %i are told when they should be', async (type, code, mtu, isTold) => {
    const kit = await TurnKit.open({ features: ['icmp-errors'] })
    const { client, relayed } = await permitted(kit)
    const endpoint = kit.datapath.endpointAt(relayed.address, relayed.port)
    if (endpoint === undefined) throw new TypeError('no endpoint')
    client.sendTo(peer, 'x')
    const before = client.inbox.length
    kit.datapath.receiveIcmp(endpoint.id, peer, { type, code, mtu })
    expect(client.inbox.length - before).toBe(isTold ? 1 : 0)
    if (!isTold) return
    const message = StunMessage.decode(client.inbox.at(-1) ?? Buffer.alloc(0))
    if (typeof message === 'string') throw new TypeError(message)
    expect([message.method, message.class]).toEqual([StunMethod.data, StunClass.indication])
    expect(decodeIcmp(message.attribute(StunAttribute.icmp) ?? new Uint8Array(0))).toEqual({
      type,
      code,
      data: mtu,
    })
    expect(
      decodeXorAddress(
        message.attribute(StunAttribute.xorPeerAddress) ?? new Uint8Array(0),
        message.transactionId,
      ),
    ).toEqual(peer)
    expect(message.attribute(StunAttribute.data)).toBeUndefined()
  })

  it('of IPv6 are told by other types', async () => {
    const kit = await TurnKit.open({ features: ['icmp-errors'] })
    const client = kit.client()
    const relayed = await client.allocate(udpAnd(family(2)))
    const far = { address: '2001:db8:9::1', port: 9 }
    await client.permit(far)
    const endpoint = kit.datapath.endpointAt(relayed.address, relayed.port)
    if (endpoint === undefined) throw new TypeError('no endpoint')
    const before = client.inbox.length
    for (const type of [1, 2, 3, 4, 11, 129]) {
      kit.datapath.receiveIcmp(endpoint.id, far, { type, code: 0, mtu: 1280 })
    }
    expect(client.inbox.length - before).toBe(3)
  })

  it('are told of a channel’s peer, and not of one without a permission', async () => {
    const kit = await TurnKit.open({ features: ['icmp-errors'] })
    const { client, relayed } = await kit.allocated()
    await client.bind(0x4000, peer)
    const endpoint = kit.datapath.endpointAt(relayed.address, relayed.port)
    if (endpoint === undefined) throw new TypeError('no endpoint')
    const before = client.inbox.length
    kit.datapath.receiveIcmp(endpoint.id, { address: '192.0.2.1', port: 9 }, { type: 3, code: 3, mtu: 0 })
    expect(client.inbox.length).toBe(before)
    kit.datapath.receiveIcmp(endpoint.id, peer, { type: 3, code: 3, mtu: 0 })
    expect(client.inbox.length).toBe(before + 1)
  })
})

describe('counters', () => {
  it('count payload the same way whoever carries it, and survive rebinding', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await permitted(kit)
    const far = kit.peer(peer.address, peer.port)
    const exchange = (): void => {
      client.sendTo(peer, 'abc')
      far.send(relayed, 'de')
    }
    exchange()
    await client.bind(0x4000, peer)
    exchange()
    client.sendChannel(0x4000, 'abc')
    const [allocation] = kit.state.allocations.all()
    if (allocation === undefined) throw new TypeError('none')
    const counted = { sent: { packets: 3, bytes: 9 }, received: { packets: 2, bytes: 4 } }
    expect(kit.core.view(allocation)).toMatchObject({
      ...counted,
      peers: ['192.0.2.200:9000'],
      peerTraffic: [{ peer: '192.0.2.200:9000', ...counted }],
    })
    await client.refresh(0)
    expect(kit.core.stats).toMatchObject(counted)
  })

  it('of a listener count whole messages, those of flows once they have ended', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await permitted(kit)
    const far = kit.peer(peer.address, peer.port)
    await client.bind(0x4000, peer)
    const { traffic } = kit.listener
    const before = { ...traffic }
    client.sendChannel(0x4000, 'abcd')
    far.send(relayed, 'ef')
    expect(traffic).toEqual(before)
    kit.endAll()
    expect(traffic).toMatchObject({
      rxPackets: before.rxPackets + 1,
      rxBytes: before.rxBytes + 8,
      txPackets: before.txPackets + 1,
      txBytes: before.txBytes + 6,
    })
  })
})
