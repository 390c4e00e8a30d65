import { describe, expect, it } from 'vitest'
import { StunAttribute, StunMethod } from '../../../protocols/stun/index.ts'
import { encodeChannelNumber } from '../../../protocols/turn/index.ts'
import type { PeerPolicy } from '../peers/contract.ts'
import type { TestClient } from './test-client.testkit.ts'
import { TurnKit } from './turn-kit.testkit.ts'

const peer = { address: '192.0.2.200', port: 9000 }
const other = { address: '192.0.2.200', port: 9001 }
const third = { address: '192.0.2.200', port: 9002 }

/** A client by UDP, whose channels are the engine's, and one by TCP, whose channels are ours. */
const ways: readonly (readonly [string, (kit: TurnKit) => TestClient])[] = [
  ['UDP', (kit) => kit.client()],
  ['TCP', (kit) => kit.streamClient()],
]

async function longLived(client: TestClient): Promise<TestClient> {
  await client.allocate()
  await client.refresh(3600)
  return client
}

describe('ChannelBind', () => {
  it('without an allocation gets 437', async () => {
    const kit = await TurnKit.open()
    expect(await kit.client().bind(0x4000, peer)).toBe(437)
  })

  it.each([
    [0x3fff, 400],
    [0x4000, undefined],
    [0x4fff, undefined],
    [0x5000, undefined],
    [0x7ffe, undefined],
    [0x7fff, 400],
    [0, 400],
    [0xffff, 400],
  ])('to number %i gets %s', async (number, code) => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    expect(await client.bind(number, peer)).toBe(code)
  })

  it('to numbers over 0x4fff gets 400 on a port that is strict', async () => {
    const kit = await TurnKit.open({ listener: { strictChannels: true } })
    const { client } = await kit.allocated()
    expect(await client.bind(0x5000, peer)).toBe(400)
    expect(await client.bind(0x4fff, peer)).toBeUndefined()
  })

  it('without a number or a peer, or with one that is malformed, gets 400', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    const number = encodeChannelNumber(0x4000)
    const bind = async (build: Parameters<TestClient['request']>[1]) =>
      (await client.request(StunMethod.channelBind, build)).code
    expect(await bind((writer) => writer.attribute(StunAttribute.channelNumber, number))).toBe(400)
    expect(await bind((writer) => writer.xorAddress(StunAttribute.xorPeerAddress, peer))).toBe(400)
    expect(
      await bind((writer) =>
        writer
          .attribute(StunAttribute.channelNumber, number.subarray(0, 2))
          .xorAddress(StunAttribute.xorPeerAddress, peer),
      ),
    ).toBe(400)
    expect(
      await bind((writer) =>
        writer
          .attribute(StunAttribute.channelNumber, number)
          .attribute(StunAttribute.xorPeerAddress, new Uint8Array(5)),
      ),
    ).toBe(400)
  })

  it('of a number to another peer, or of a peer to another number, gets 400', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    expect(await client.bind(0x4000, peer)).toBeUndefined()
    expect(await client.bind(0x4000, other)).toBe(400)
    expect(await client.bind(0x4001, peer)).toBe(400)
    expect(await client.bind(0x4001, other)).toBeUndefined()
  })

  it('to another family gets 443, to a forbidden peer 403, to port 0 403', async () => {
    const peers: PeerPolicy = {
      admitsAddress: () => true,
      admits: (_address, port) => port === 9000,
      onChange: () => () => undefined,
    }
    const kit = await TurnKit.open({ listener: { peers } })
    const { client } = await kit.allocated()
    expect(await client.bind(0x4000, { address: '2001:db8:9::1', port: 9000 })).toBe(443)
    expect(await client.bind(0x4000, other)).toBe(403)
    expect(await client.bind(0x4000, { address: peer.address, port: 0 })).toBe(403)
    expect(await client.bind(0x4000, peer)).toBeUndefined()
  })

  it('gets 508 over the most of an allocation; 4,096 numbers are no exception', async () => {
    const kit = await TurnKit.open({ limits: { maxChannels: 50 } })
    const { client } = await kit.allocated()
    let bound = 0
    for (let i = 0; i < 4096; i += 16) {
      const code = await client.bind(0x4000 + i, { address: peer.address, port: 1000 + i })
      if (code === undefined) bound++
      else expect(code).toBe(508)
    }
    expect(bound).toBe(50)
    expect(kit.held()['flows']).toBeLessThanOrEqual(101)
    expect(await client.bind(0x4000, { address: peer.address, port: 1000 })).toBeUndefined()
  })

  it('again to the same peer changes nothing but the time', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    await client.bind(0x4000, peer)
    const flows = [...kit.datapath.flows.keys()]
    expect(await client.bind(0x4000, peer)).toBeUndefined()
    expect([...kit.datapath.flows.keys()]).toEqual(flows)
  })

  it('refuses an allocation for TCP peers', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    const [allocation] = kit.state.allocations.all()
    if (allocation === undefined) throw new TypeError('none')
    Object.assign(allocation, { relayTransport: 'tcp' })
    expect(await client.bind(0x4000, peer)).toBe(400)
  })
})

describe.each(ways)('a channel of a client by %s', (_way, clientOf) => {
  it('carries data both ways, and installs the permission', async () => {
    const kit = await TurnKit.open()
    const client = clientOf(kit)
    const relayed = await client.allocate()
    const far = kit.peer(peer.address, peer.port)
    const near = kit.peer(other.address, other.port)
    expect(await client.bind(0x4001, peer)).toBeUndefined()
    client.sendChannel(0x4001, 'to')
    far.send(relayed, 'fro')
    near.send(relayed, 'by the permission')
    expect(far.inbox).toEqual([{ from: relayed, data: 'to' }])
    expect(client.heard).toEqual(['0x4001 fro', `${other.address} ${other.port} by the permission`])
  })

  it('carries what is sent by indications too', async () => {
    const kit = await TurnKit.open()
    const client = clientOf(kit)
    await client.allocate()
    const far = kit.peer(peer.address, peer.port)
    await client.bind(0x4001, peer)
    client.sendTo(peer, 'indicated')
    expect(far.heard).toEqual(['indicated'])
  })

  it('carries nothing of a number that is not bound', async () => {
    const kit = await TurnKit.open()
    const client = clientOf(kit)
    await client.allocate()
    const far = kit.peer(peer.address, peer.port)
    await client.bind(0x4001, peer)
    client.sendChannel(0x4002, 'no')
    expect([far.heard, kit.data.dropped['no-channel']]).toEqual([[], 1])
  })

  it('lasts 600 seconds, its permission 300: data stops with it and goes on when it is renewed', async () => {
    const kit = await TurnKit.open()
    const client = await longLived(clientOf(kit))
    const far = kit.peer(peer.address, peer.port)
    const [relay] = [...kit.state.allocations.all()].map(({ relays: [one] }) => one?.relayed)
    if (relay === undefined) throw new TypeError('no relay')
    await client.bind(0x4001, peer)
    const exchange = (text: string): void => {
      client.sendChannel(0x4001, text)
      far.send(relay, text)
    }
    kit.clock.advance(299_000)
    exchange('in time')
    kit.clock.advance(2000)
    exchange('without permission')
    expect([far.heard, client.heard]).toEqual([['in time'], ['0x4001 in time']])
    await client.permit(peer)
    exchange('renewed')
    expect([far.heard, client.heard]).toEqual([
      ['in time', 'renewed'],
      ['0x4001 in time', '0x4001 renewed'],
    ])
    // 301 s so far, and the permission until 601 s.
    kit.clock.advance(298_000)
    exchange('last')
    kit.clock.advance(1500)
    client.sendChannel(0x4001, 'expired')
    far.send(relay, 'indicated')
    expect(far.heard).toEqual(['in time', 'renewed', 'last'])
    expect(client.heard.at(-1)).toBe(`${peer.address} ${peer.port} indicated`)
  })

  it('is renewed by binding it again, and with it the permission', async () => {
    const kit = await TurnKit.open()
    const client = await longLived(clientOf(kit))
    const far = kit.peer(peer.address, peer.port)
    await client.bind(0x4001, peer)
    for (let i = 0; i < 5; i++) {
      kit.clock.advance(290_000)
      expect(await client.bind(0x4001, peer)).toBeUndefined()
      client.sendChannel(0x4001, `${i}`)
    }
    expect(far.heard).toEqual(['0', '1', '2', '3', '4'])
  })

  it('may be bound elsewhere once it has expired, and its peer to another number', async () => {
    const kit = await TurnKit.open()
    const client = await longLived(clientOf(kit))
    const far = kit.peer(peer.address, peer.port)
    const near = kit.peer(other.address, other.port)
    kit.clock.advance(500)
    await client.bind(0x4001, peer)
    await client.bind(0x4003, third)
    // Before any sweep, and long after it.
    kit.clock.advance(600_100)
    expect(await client.bind(0x4003, peer)).toBeUndefined()
    client.sendChannel(0x4003, 'moved')
    client.sendChannel(0x4001, 'by a number that is no more')
    expect(far.heard).toEqual(['moved'])
    await client.refresh(3600)
    kit.clock.advance(600_100)
    expect(await client.bind(0x4001, other)).toBeUndefined()
    expect(await client.bind(0x4002, peer)).toBeUndefined()
    client.sendChannel(0x4001, 'other')
    client.sendChannel(0x4002, 'peer')
    expect([far.heard, near.heard]).toEqual([['moved', 'peer'], ['other']])
    kit.clock.advance(650_000)
    expect(await client.bind(0x4001, peer)).toBeUndefined()
    client.sendChannel(0x4001, 'back')
    expect(far.heard).toEqual(['moved', 'peer', 'back'])
  })

  it('ends with the allocation', async () => {
    const kit = await TurnKit.open()
    const client = clientOf(kit)
    const relayed = await client.allocate()
    const far = kit.peer(peer.address, peer.port)
    await client.bind(0x4001, peer)
    await client.refresh(0)
    client.sendChannel(0x4001, 'gone')
    far.send(relayed, 'gone')
    expect([far.heard, client.heard]).toEqual([[], []])
    expect(kit.held()).toMatchObject({ flows: 0, flowOwners: 0 })
  })
})

it('one client address and port has its own channel of one number at each address of the server', async () => {
  const kit = await TurnKit.open({ interfaces: ['198.51.100.1', '198.51.100.2'] })
  const one = kit.client({ local: 0 })
  await one.allocate()
  const two = kit.client({ local: 1 })
  await two.allocate()
  const [far, near] = [kit.peer(peer.address, peer.port), kit.peer(other.address, other.port)]
  expect(await one.bind(0x4000, peer)).toBeUndefined()
  expect(await two.bind(0x4000, other)).toBeUndefined()
  one.sendChannel(0x4000, 'one')
  two.sendChannel(0x4000, 'two')
  expect([far.heard, near.heard]).toEqual([['one'], ['two']])
})
