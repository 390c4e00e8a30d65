import { describe, expect, it } from 'vitest'
import { StunAttribute, StunMethod } from '../../../protocols/stun/index.ts'
import type { PeerPolicy } from '../peers/contract.ts'
import { relay4, relay6, TurnKit } from './turn-kit.testkit.ts'

const peer = { address: '192.0.2.200', port: 9000 }

/** Admits what it is told to, by address or by address and port. */
function policy(admitted: ReadonlySet<string>): PeerPolicy {
  return {
    admitsAddress: (address) => [...admitted].some((one) => one.split(' ')[0] === address),
    admits: (address, port) => admitted.has(address) || admitted.has(`${address} ${port}`),
    onChange: () => () => undefined,
  }
}

describe('CreatePermission', () => {
  it('without an allocation gets 437', async () => {
    const kit = await TurnKit.open()
    expect(await kit.client().permit(peer)).toBe(437)
  })

  it('lets data pass both ways, whatever the port', async () => {
    const kit = await TurnKit.open()
    const { client, relayed } = await kit.allocated()
    const one = kit.peer(peer.address, 1000)
    const two = kit.peer(peer.address, 2000)
    client.sendTo(one, 'too early')
    one.send(relayed, 'too early')
    expect(await client.permit({ address: peer.address, port: 5 })).toBeUndefined()
    client.sendTo(one, 'there')
    two.send(relayed, 'back')
    expect([one.heard, two.heard, client.heard]).toEqual([['there'], [], [`${peer.address} 2000 back`]])
    expect(kit.data.dropped['no-permission']).toBe(2)
  })

  it('without an address gets 400, and with one that is malformed, though others are fine', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    expect(await client.permit()).toBe(400)
    const malformed = await client.request(StunMethod.createPermission, (writer) => {
      writer
        .xorAddress(StunAttribute.xorPeerAddress, peer)
        .attribute(StunAttribute.xorPeerAddress, Uint8Array.of(0, 9, 0, 0, 1, 2, 3, 4))
    })
    expect(malformed.code).toBe(400)
    expect(permissions(kit)).toEqual([])
  })

  it('for a family that the allocation has not gets 443, and nothing is installed', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    expect(await client.permit(peer, '2001:db8:9::1')).toBe(443)
    expect(permissions(kit)).toEqual([])
  })

  it('for an IPv4 host in the shape of IPv6 gets 443: sockets would take it for IPv4', async () => {
    const kit = await TurnKit.open({ relays: [relay6] })
    const client = kit.client()
    await client.allocate((writer) => {
      writer
        .attribute(StunAttribute.requestedTransport, Uint8Array.of(17, 0, 0, 0))
        .attribute(StunAttribute.requestedAddressFamily, Uint8Array.of(2, 0, 0, 0))
    })
    expect(await client.permit('::ffff:192.0.2.200')).toBe(443)
    expect(await client.bind(0x4000, { address: '::ffff:192.0.2.200', port: 9 })).toBe(443)
    expect(await client.permit('2001:db8::ffff:c000:2c8')).toBeUndefined()
  })

  it('for a peer that rules forbid gets 403, and nothing is installed', async () => {
    const kit = await TurnKit.open({ listener: { peers: policy(new Set([peer.address])) } })
    const { client } = await kit.allocated()
    expect(await client.permit(peer, '192.0.2.201')).toBe(403)
    expect(permissions(kit)).toEqual([])
    expect(await client.permit(peer)).toBeUndefined()
  })

  it('for a port that rules forbid gets 403; without a port it gets the address', async () => {
    const kit = await TurnKit.open({ listener: { peers: policy(new Set([`${peer.address} 9000`])) } })
    const { client } = await kit.allocated()
    expect(await client.permit({ address: peer.address, port: 9001 })).toBe(403)
    expect(await client.permit({ address: peer.address, port: 0 })).toBeUndefined()
    const other = kit.peer(peer.address, 9001)
    client.sendTo(other, 'no')
    expect(other.heard).toEqual([])
  })

  it('checks the form of all before the family, and the family before the rules', async () => {
    const kit = await TurnKit.open({ listener: { peers: policy(new Set()) } })
    const { client } = await kit.allocated()
    expect(await client.permit('2001:db8:9::1', '192.0.2.1')).toBe(443)
  })

  // The engine, which carries what a client sends by UDP, is told within a second.
  it.each([
    ['UDP', (kit: TurnKit) => kit.client(), 1000],
    ['TCP', (kit: TurnKit) => kit.streamClient(), 0],
  ])(
    'of a client by %s lasts 300 seconds from the last one; data does not renew it',
    async (_way, clientOf, lateMs) => {
      const kit = await TurnKit.open()
      const client = clientOf(kit)
      const relayed = await client.allocate()
      await client.refresh(3600)
      const other = kit.peer(peer.address, peer.port)
      // Sweeps come with whole seconds.
      kit.clock.advance(500)
      await client.permit(peer)
      kit.clock.advance(200_000)
      await client.permit(peer)
      kit.clock.advance(299_000)
      client.sendTo(peer, 'in time')
      other.send(relayed, 'in time')
      kit.clock.advance(1000 + lateMs)
      client.sendTo(peer, 'late')
      other.send(relayed, 'late')
      expect([other.heard, client.heard]).toEqual([['in time'], [`${peer.address} ${peer.port} in time`]])
      kit.clock.advance(1000)
      expect(permissions(kit)).toEqual([])
      expect(kit.held()['flows']).toBeLessThanOrEqual(1)
    },
  )

  it('gets 508 over the most of an allocation: all of a request or none; renewing is always possible', async () => {
    const kit = await TurnKit.open({ limits: { maxPermissions: 3, newPeersPerSecond: 0 } })
    const { client } = await kit.allocated()
    expect(await client.permit('192.0.2.1', '192.0.2.2')).toBeUndefined()
    expect(await client.permit('192.0.2.3', '192.0.2.4')).toBe(508)
    expect(permissions(kit)).toHaveLength(2)
    expect(await client.permit('192.0.2.3', '192.0.2.3')).toBeUndefined()
    expect(await client.permit('192.0.2.1', '192.0.2.2', '192.0.2.3')).toBeUndefined()
    expect(await client.bind(0x4000, { address: '192.0.2.9', port: 1 })).toBe(508)
  })

  it('stops at the most, whoever asks for 10,000', async () => {
    const kit = await TurnKit.open({ limits: { newPeersPerSecond: 0 } })
    const { client } = await kit.allocated()
    const codes = new Map<number | undefined, number>()
    for (let i = 0; i < 100; i++) {
      const peers = Array.from({ length: 100 }, (_, k) => `198.18.${i}.${k}`)
      const code = await client.permit(...peers)
      codes.set(code, (codes.get(code) ?? 0) + 1)
    }
    expect(codes).toEqual(
      new Map([
        [undefined, 2],
        [508, 98],
      ]),
    )
    expect(permissions(kit)).toHaveLength(200)
  })

  it('for thousands of addresses at once asks no rules', async () => {
    let asked = 0
    const peers: PeerPolicy = {
      admitsAddress: () => {
        asked++
        return true
      },
      admits: () => true,
      onChange: () => () => undefined,
    }
    const kit = await TurnKit.open({ listener: { peers } })
    const { client } = await kit.allocated()
    const addresses = Array.from({ length: 5000 }, (_, i) => `198.18.${i >> 8}.${i & 255}`)
    expect(await client.permit(...addresses)).toBe(508)
    expect(asked).toBe(0)
  })

  it('gets 508 when new peers come too fast, 20 seconds’ worth being allowed at once', async () => {
    const kit = await TurnKit.open({ limits: { newPeersPerSecond: 2 } })
    const { client } = await kit.allocated()
    const peers = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => `192.0.2.${from + i}`)
    expect(await client.permit(...peers(1, 40))).toBeUndefined()
    expect(await client.permit(...peers(41, 1))).toBe(508)
    expect(await client.permit(...peers(1, 40))).toBeUndefined()
    kit.clock.advance(1000)
    expect(await client.permit(...peers(41, 3))).toBe(508)
    expect(await client.permit(...peers(41, 2))).toBeUndefined()
  })

  it('is of one allocation, not of its user', async () => {
    const kit = await TurnKit.open()
    const one = await kit.allocated({ port: 1 })
    const two = await kit.allocated({ port: 2 })
    await one.client.permit(peer)
    const other = kit.peer(peer.address, peer.port)
    other.send(two.relayed, 'no')
    two.client.sendTo(peer, 'no')
    expect([two.client.heard, other.heard]).toEqual([[], []])
  })

  it('of relayed addresses is always given, since relayed calls need it', async () => {
    const kit = await TurnKit.open({ listener: { peers: policy(new Set()) } })
    const { client } = await kit.allocated()
    expect(await client.permit({ address: relay4.address, port: 1 })).toBeUndefined()
  })
})

function permissions(kit: TurnKit): readonly string[] {
  return [...kit.state.allocations.all()].flatMap((allocation) => [...allocation.permissions.keys()])
}
