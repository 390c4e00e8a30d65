import { beforeEach, describe, expect, it } from 'vitest'
import { decodeXorAddress, encodeXorAddress } from '../../protocols/stun/index.ts'
import { at, DatapathFixture, type Subject } from './conformance-setup.testkit.ts'
import type { Endpoint, Flow, FlowId, Remote } from './contract.ts'
import { type UdpPeer, until } from './udp-peer.testkit.ts'

/** TURN clients without a channel: Send indications to their data, and data to Data indications. */
export function describeIndications(subject: Subject): void {
  const fixture = new DatapathFixture(subject)
  let client: UdpPeer
  let edge: Endpoint

  beforeEach(async () => {
    client = await fixture.peer()
    edge = await fixture.open()
  })

  const from = () => ({ endpoint: edge.id, remote: client })
  /** Sends data of Send indications to `peer` to that remote. */
  const strip = (relay: Endpoint, remote: Remote, peer: Remote = remote): FlowId =>
    fixture.engine.addFlow({
      kind: 'turn-indication',
      header: 'strip',
      peer,
      from: from(),
      to: { endpoint: relay.id, remote },
    })
  const add = (relay: Endpoint, remote: Remote, peer: Remote = remote): FlowId =>
    fixture.engine.addFlow({
      kind: 'turn-indication',
      header: 'add',
      peer,
      from: { endpoint: relay.id, remote },
      to: from(),
    })

  describe.each(['127.0.0.1', '::1'])('turn-indication flows to %s', (address) => {
    it('take the data out, and make indications of what comes back', async () => {
      const [peer, relay] = [await fixture.peer(address), await fixture.open({ addresses: [address] })]
      const [stripped, added] = [strip(relay, peer), add(relay, peer)]
      const ids = new Set<string>()
      const lengths = [0, 1, 2, 3, 4, 5, 1200]
      let padded = 0
      for (const length of lengths) {
        const data = Buffer.alloc(length, 'abcdefg')
        padded += (length + 3) & ~3
        await client.send(sendIndication(peer, data), at(edge))
        const passed = await peer.next()
        expect(passed.bytes).toEqual(data)
        await peer.send(data, passed.from)
        const { bytes, from } = await client.next()
        expect(from).toEqual(at(edge))
        const transaction = bytes.subarray(8, 20)
        ids.add(transaction.toString('hex'))
        expect(bytes).toEqual(indication(0x17, [xorPeer(peer, transaction), [0x13, data]], transaction))
        expect(decodeXorAddress(bytes.subarray(24, bytes.readUInt16BE(22) + 24), transaction)).toEqual({
          address,
          port: peer.port,
        })
      }
      expect(ids.size).toBe(lengths.length)
      const packets = lengths.length
      const headers = packets * (address === '::1' ? 48 : 36)
      expect(fixture.counters(stripped)).toMatchObject({
        packets,
        bytes: 1215,
        drops: 0,
        framing: headers + padded - 1215,
      })
      expect(fixture.counters(added)).toMatchObject({
        packets,
        bytes: headers + padded,
        drops: 0,
        framing: headers + padded - 1215,
      })
      expect(fixture.arrivals).toEqual([])
    })

    it('take and make bursts in order, of runs of one length and of others', async () => {
      const [peer, relay] = [await fixture.burstPeer(), await fixture.open({ addresses: ['127.0.0.1'] })]
      // By whatever name the client knows it.
      const named = { address, port: 7 }
      add(relay, peer, named)
      const lengths = [1200, 1200, 1200, 900, 1200, 0, 0, 5, 6, 7, 8, 3000, 3000, 1, 65_000, 172, 172, 172]
      const burst = Array.from({ length: 10 }, (_, round) =>
        lengths.map((length, index) => Buffer.alloc(length, round * lengths.length + index)),
      ).flat()
      await peer.burst(burst, at(relay))
      await until(() => client.received.length === burst.length, 'all')
      const headerBytes = address === '::1' ? 48 : 36
      const isRight = client.received.every(({ bytes }, index) => {
        const data = burst[index] as Buffer
        return (
          bytes.length === headerBytes + ((data.length + 3) & ~3) &&
          bytes.readUInt16BE(headerBytes - 2) === data.length &&
          bytes.subarray(headerBytes, headerBytes + data.length).equals(data)
        )
      })
      expect(isRight).toBe(true)
      strip(relay, peer, named)
      const back = client.received.splice(0).map(({ bytes }) => {
        bytes[1] = 0x16
        return bytes
      })
      await client.burst(back, at(edge))
      await until(() => peer.received.length === burst.length, 'all back')
      expect(peer.received.every(({ bytes }, index) => bytes.equals(burst[index] as Buffer))).toBe(true)
    })
  })

  it('finds each peer of a client by its address and port, and leaves others to the plain flow', async () => {
    const relay = await fixture.open()
    const port = 7
    const named = [
      { address: '192.0.2.1', port },
      { address: '192.0.2.1', port: 8 },
      { address: '192.0.2.2', port },
      { address: '2001:db8::1', port },
      { address: '2001:db8:1::', port },
    ]
    const peers = await Promise.all(named.map(async () => await fixture.peer()))
    const flows = named.map((peer, index) => strip(relay, peers[index] as UdpPeer, peer))
    const control = fixture.engine.addFlow({ kind: 'deliver', from: from() })
    for (const [index, peer] of named.entries()) {
      await client.send(sendIndication(peer, Buffer.from(`to ${index}`)), at(edge))
      expect((await (peers[index] as UdpPeer).next()).text).toBe(`to ${index}`)
    }
    const strangers = [
      { address: '192.0.2.3', port },
      { address: '192.0.2.1', port: 9 },
      { address: '::ffff:192.0.2.1', port },
      { address: '2001:db8::2', port },
    ]
    for (const peer of strangers) {
      await client.send(sendIndication(peer, Buffer.from('?')), at(edge))
      expect((await fixture.nextArrival()).flow).toBe(control)
    }
    fixture.engine.removeFlow(flows[0] as FlowId)
    await client.send(sendIndication(named[0] as Remote, Buffer.from('?')), at(edge))
    expect((await fixture.nextArrival()).flow).toBe(control)
    await client.send(sendIndication(named[1] as Remote, Buffer.from('!')), at(edge))
    expect((await peers[1]?.next())?.text).toBe('!')
  })

  it('takes attributes in any order, and passes over those that need not be understood', async () => {
    const [peer, relay] = [await fixture.peer(), await fixture.open()]
    strip(relay, peer)
    const id = Buffer.alloc(12, 5)
    const attributes: readonly Attribute[] = [
      [0x8022, Buffer.from('software')],
      [0x13, Buffer.from('data!')],
      [0x8022, Buffer.alloc(0)],
      xorPeer(peer, id),
      [0xffff, Buffer.alloc(9, 1)],
      [0x8028, Buffer.alloc(4)],
    ]
    await client.send(indication(0x16, attributes, id), at(edge))
    expect((await peer.next()).text).toBe('data!')
  })

  it('leaves to the plain flow what is odd', async () => {
    const [peer, relay] = [await fixture.peer(), await fixture.open()]
    const stripped = strip(relay, peer)
    const control = fixture.engine.addFlow({ kind: 'deliver', from: from() })
    const id = Buffer.alloc(12, 5)
    const address = xorPeer(peer, id)
    const data: Attribute = [0x13, Buffer.from('abcdefgh')]
    const sound = indication(0x16, [address, data], id)
    const changed = (offset: number, value: number): Buffer => {
      const bytes = Buffer.from(sound)
      bytes[offset] = value
      return bytes
    }
    // A length that is no multiple of four: the last attribute is not padded.
    const unpadded = indication(0x16, [address, [0x13, Buffer.from('abcdefghi')]], id).subarray(0, -3)
    unpadded.writeUInt16BE(unpadded.length - 20, 2)
    // Another cookie, which masks the address just so.
    const otherCookie = Buffer.from(sound)
    for (const offset of [4, 26, 28]) otherCookie[offset] = (sound[offset] as number) ^ 0x80
    const odd: readonly Buffer[] = [
      unpadded,
      otherCookie,
      // Without one of the two, with one twice, with others.
      indication(0x16, [address], id),
      indication(0x16, [data], id),
      indication(0x16, [], id),
      indication(0x16, [address, data, address], id),
      indication(0x16, [address, data, data], id),
      indication(0x16, [address, [0x1a, Buffer.alloc(0)], data], id),
      indication(0x16, [address, data, [0x7fff, Buffer.alloc(0)]], id),
      // Other messages, no message, lengths that are wrong.
      indication(0x17, [address, data], id),
      indication(0x06, [address, data], id),
      changed(4, 0),
      changed(7, 0),
      changed(3, 23),
      changed(3, 28),
      Buffer.concat([sound, Buffer.alloc(4)]),
      Buffer.concat([sound, Buffer.alloc(1)]),
      // An address that is none, and attributes that run past the end.
      changed(25, 2),
      changed(25, 0),
      changed(23, 7),
      changed(35, 9),
      changed(34, 0xff),
      ...[0, 1, 2, 19, 20, 21, 24, 32, 36, 43].map((length) => sound.subarray(0, length)),
    ]
    for (const [index, bytes] of odd.entries()) {
      await client.send(bytes, at(edge))
      const arrival = await fixture.nextArrival()
      expect([index, arrival.flow, Buffer.from(arrival.bytes)]).toEqual([index, control, bytes])
    }
    await client.send(sound, at(edge))
    expect((await peer.next()).text).toBe('abcdefgh')
    expect(fixture.counters(stripped)).toMatchObject({ packets: 1, drops: 0 })
  })

  it('goes beside channels and matches', async () => {
    const { engine } = fixture
    const [relay, first, second, third] = [
      await fixture.open(),
      await fixture.peer(),
      await fixture.peer(),
      await fixture.peer(),
    ]
    strip(relay, first)
    const to = (remote: Remote) => ({ endpoint: relay.id, remote })
    engine.addFlow({
      kind: 'turn-channel',
      channel: 0x4001,
      header: 'strip',
      from: from(),
      to: to(second),
    })
    // It holds for all Send indications to a known port; the peer is looked up first.
    const match = { offset: 0, value: 0x0016_0010 }
    engine.addFlow({ kind: 'forward', from: { ...from(), match }, to: to(third) })
    await client.send(sendIndication(first, Buffer.alloc(0)), at(edge))
    expect((await first.next()).text).toBe('')
    await client.send(Buffer.from([0x40, 1, 0, 1, 0x61]), at(edge))
    expect((await second.next()).text).toBe('a')
    const other = sendIndication(second, Buffer.alloc(0))
    await client.send(other, at(edge))
    expect((await third.next()).bytes).toEqual(other)
    // Nobody else takes it.
    await client.send(sendIndication(second, Buffer.from('b')), at(edge))
    expect((await fixture.nextArrival()).flow).toBe(0)
  })

  it('is paused, aimed and metered as others are', async () => {
    const { engine } = fixture
    const [relay, peer, moved] = [await fixture.open(), await fixture.peer(), await fixture.peer()]
    const bytes = sendIndication(peer, Buffer.from('data'))
    const meter = engine.openMeter({ bytesPerSecond: 0.001, burstSeconds: 2000 * bytes.length })
    const stripped = engine.addFlow({
      kind: 'turn-indication',
      header: 'strip',
      peer,
      from: from(),
      to: { endpoint: relay.id, remote: peer },
      meters: [meter],
    })
    engine.pause(stripped, true)
    await client.send(bytes, at(edge))
    await until(() => engine.totals().dropped.paused === 1, 'the drop')
    engine.pause(stripped, false)
    engine.aim(stripped, moved)
    // The meter has room for two, whole as they arrive.
    for (let sent = 0; sent < 3; sent++) await client.send(bytes, at(edge))
    await until(() => engine.totals().dropped.meter === 1, 'the drop of the meter')
    await until(() => moved.received.length === 2, 'the others')
    expect(fixture.counters(stripped)).toMatchObject({ packets: 2, bytes: 8, drops: 2 })
    expect(peer.received).toEqual([])
    expect(fixture.arrivals).toEqual([])
  })

  it('is of one local address where they are separated', async () => {
    const { engine } = fixture
    const addresses = ['127.0.0.1', '127.0.0.2']
    const separate = await fixture.open({ addresses, separateLocals: true })
    const relay = await fixture.open()
    const peer = { address: '192.0.2.1', port: 7 }
    for (const { local, address } of separate.locals) {
      const remote = await fixture.peer()
      const here = { endpoint: separate.id, remote: client, local }
      const there = { endpoint: relay.id, remote }
      const common = { kind: 'turn-indication', peer } as const
      engine.addFlow({ ...common, header: 'strip', from: here, to: there })
      engine.addFlow({ ...common, header: 'add', from: there, to: here })
      await client.send(sendIndication(peer, Buffer.from(address)), at(separate, address))
      const passed = await remote.next()
      expect(passed.text).toBe(address)
      await remote.send('back', passed.from)
      expect((await client.next()).from).toEqual(at(separate, address))
    }
  })

  it('drops what no indication has room for', async () => {
    const relay = await fixture.open({ addresses: ['::1'] })
    const peer = await fixture.peer('::1')
    const added = add(relay, peer)
    // For the length field of the message, and for a datagram over IPv4.
    for (const length of [65_505, 65_504, 65_460]) await peer.send(Buffer.alloc(length), at(relay, '::1'))
    await peer.send(Buffer.alloc(65_456), at(relay, '::1'))
    expect((await client.next()).bytes.length).toBe(65_504)
    await until(() => fixture.counters(added).drops === 3, 'three drops')
    expect(fixture.counters(added)).toMatchObject({ packets: 1, bytes: 65_504, framing: 48 })
    expect(fixture.engine.totals().dropped.error).toBe(3)
  })

  it('refuses what makes no sense', async () => {
    const { engine } = fixture
    const to = { endpoint: edge.id, remote: client }
    const peer = { address: '2001:db8::1', port: 7 }
    const flow = { kind: 'turn-indication', header: 'strip', peer, from: from(), to } as const
    const first = engine.addFlow(flow)
    engine.addFlow({ ...flow, peer: { ...peer, address: '192.0.2.1' } })
    const bad: readonly [string, Flow][] = [
      ['DATAPATH_FLOW_EXISTS', { ...flow, peer: { ...peer, address: '2001:0DB8:0::1' } }],
      ['DATAPATH_FLOW_EXISTS', { ...flow, peer: { ...peer, address: '::ffff:192.0.2.1' } }],
      ['DATAPATH_INVALID', { ...flow, peer: { ...peer, port: 0 } }],
      ['DATAPATH_INVALID', { ...flow, peer: { ...peer, address: 'localhost' } }],
      ['DATAPATH_INVALID', { ...flow, peer: { ...peer, address: 'fe80::1%lo' }, header: 'add' }],
      ['DATAPATH_INVALID', { ...flow, from: { ...from(), match: { offset: 0, value: 0 } } }],
    ]
    for (const [code, misuse] of bad) {
      expect(() => engine.addFlow(misuse)).toThrow(expect.objectContaining({ code }))
    }
    engine.addFlow({ ...flow, header: 'add', from: { ...from(), match: { offset: 0, value: 0 } } })
    engine.removeFlow(first)
    engine.addFlow(flow)
    expect(engine.totals().flows).toBe(3)
  })
}

type Attribute = readonly [type: number, value: Uint8Array]

function xorPeer(peer: Remote, transactionId: Uint8Array): Attribute {
  return [0x12, encodeXorAddress(peer, transactionId)]
}

function sendIndication(peer: Remote, data: Uint8Array): Buffer {
  const id = Buffer.from('transactions')
  return indication(0x16, [xorPeer(peer, id), [0x13, data]], id)
}

function indication(type: number, attributes: readonly Attribute[], transactionId: Uint8Array): Buffer {
  const parts = attributes.map(([type, value]) => {
    const bytes = Buffer.alloc(4 + ((value.length + 3) & ~3))
    bytes.writeUInt16BE(type, 0)
    bytes.writeUInt16BE(value.length, 2)
    bytes.set(value, 4)
    return bytes
  })
  const header = Buffer.alloc(20)
  header.writeUInt16BE(type, 0)
  header.writeUInt16BE(
    parts.reduce((sum, { length }) => sum + length, 0),
    2,
  )
  header.writeUInt32BE(0x2112a442, 4)
  header.set(transactionId, 8)
  return Buffer.concat([header, ...parts])
}
