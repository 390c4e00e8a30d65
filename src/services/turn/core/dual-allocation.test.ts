import { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { StunAttribute, StunMethod } from '../../../protocols/stun/index.ts'
import {
  AddressFamily,
  decodeAddressErrorCode,
  encodeAddressFamily,
  encodeRequestedTransport,
} from '../../../protocols/turn/index.ts'
import type { Relay } from './allocation.ts'
import { addressesOf, type Answer, family, udpAnd } from './test-client.testkit.ts'
import { relay4, relay6, TurnKit } from './turn-kit.testkit.ts'

const both = udpAnd((writer) =>
  writer.attribute(StunAttribute.additionalAddressFamily, encodeAddressFamily(AddressFamily.ipv6)),
)
const peer4 = { address: '192.0.2.200', port: 9 }
const peer6 = { address: '2001:db8:9::1', port: 9 }

function relayedOf(answer: Answer): readonly string[] {
  return addressesOf(answer, StunAttribute.xorRelayedAddress).map(({ address }) => address)
}

describe('ADDITIONAL-ADDRESS-FAMILY', () => {
  it('gives both families in one allocation, which counts once', async () => {
    const kit = await TurnKit.open()
    const answer = await kit.client().request(StunMethod.allocate, both)
    expect(relayedOf(answer)).toEqual([relay4.address, relay6.address])
    expect(answer.message.attribute(StunAttribute.addressErrorCode)).toBeUndefined()
    expect(kit.held()).toMatchObject({ allocations: 1, endpoints: 2, quota: 1 })
  })

  it.each([
    ['IPv6 is not offered', [relay4], relay4.address, { family: 2, code: 440 }],
    ['IPv4 is not offered', [relay6], relay6.address, { family: 1, code: 440 }],
    [
      'IPv6 has no port left',
      [relay4, { ...relay6, from: 50_000, to: 49_999 }],
      relay4.address,
      { family: 2, code: 508 },
    ],
    [
      'IPv4 has no port left',
      [{ ...relay4, from: 50_000, to: 49_999 }, relay6],
      relay6.address,
      { family: 1, code: 508 },
    ],
  ])('gives one and says why not the other when %s', async (_title, relays, had, failed) => {
    const kit = await TurnKit.open({ relays })
    const answer = await kit.client().request(StunMethod.allocate, both)
    expect(relayedOf(answer)).toEqual([had])
    expect(
      decodeAddressErrorCode(answer.message.attribute(StunAttribute.addressErrorCode) ?? new Uint8Array(0)),
    ).toEqual(failed)
    expect(kit.held()).toMatchObject({ endpoints: 1, quota: 1 })
  })

  it('is refused when neither can be had', async () => {
    const kit = await TurnKit.open({
      relays: [
        { ...relay4, from: 50_000, to: 49_999 },
        { ...relay6, from: 50_000, to: 49_999 },
      ],
    })
    expect((await kit.client().request(StunMethod.allocate, both)).code).toBe(508)
    expect(kit.held()).toMatchObject({ endpoints: 0, quota: 0 })
  })

  it('lets peers of both families be reached', async () => {
    const kit = await TurnKit.open()
    const client = kit.client()
    await client.allocate(both)
    expect(await client.permit(peer4.address, peer6.address)).toBeUndefined()
    const [one, other] = [kit.peer(peer4.address, peer4.port), kit.peer(peer6.address, peer6.port)]
    client.sendTo(peer4, 'four')
    client.sendTo(peer6, 'six')
    expect([one.inbox[0]?.from.address, one.heard]).toEqual([relay4.address, ['four']])
    expect([other.inbox[0]?.from.address, other.heard]).toEqual([relay6.address, ['six']])
  })

  it('is ended family by family', async () => {
    const kit = await TurnKit.open()
    const client = kit.client()
    await client.allocate(both)
    await client.permit(peer4.address, peer6.address)
    expect(await client.bind(0x4000, peer4)).toBeUndefined()
    expect(await client.bind(0x4001, peer6)).toBeUndefined()
    const other = kit.peer(peer6.address, peer6.port)
    const answer = await client.refresh(0, family(1))
    expect([answer.code, answer.message.u32(StunAttribute.lifetime)]).toEqual([undefined, 0])
    expect(kit.held()).toMatchObject({ allocations: 1, endpoints: 1, quota: 1 })
    client.sendChannel(0x4000, 'gone')
    client.sendChannel(0x4001, 'there')
    expect(other.heard).toEqual(['there'])
    expect(await client.permit(peer4)).toBe(443)
    expect((await client.refresh(600, family(1))).code).toBe(443)
    await client.refresh(0, family(2))
    expect(kit.ended).toEqual(['released'])
  })

  it('for TCP peers dials each from the address of its family', async () => {
    const dialled: { readonly from: string; readonly to: string; readonly socket: Socket }[] = []
    const kit = await TurnKit.open({
      openTcpRelay: ({ family: ofRelay, address, advertised, from }) => {
        const relay: Relay = {
          family: ofRelay,
          bound: { address, port: from },
          relayed: { address: advertised, port: from },
          endpoint: undefined,
          tcp: {
            onConnection: () => undefined,
            dial: (peer) => {
              const socket = new Socket()
              dialled.push({ from: address, to: peer.address, socket })
              return socket
            },
            close: () => undefined,
          },
          allocation: undefined,
          incoming: undefined,
          isClosed: false,
        }
        return Promise.resolve([relay])
      },
    })
    const client = kit.streamClient()
    await client.allocate((writer) =>
      writer
        .attribute(StunAttribute.requestedTransport, encodeRequestedTransport(6))
        .attribute(StunAttribute.additionalAddressFamily, encodeAddressFamily(AddressFamily.ipv6)),
    )
    for (const peer of [peer4, peer6]) {
      client.put(
        client.signed(StunMethod.connect, (writer) => writer.xorAddress(StunAttribute.xorPeerAddress, peer)),
      )
    }
    expect(dialled.map(({ from, to }) => [from, to])).toEqual([
      [relay4.address, peer4.address],
      [relay6.address, peer6.address],
    ])
    await client.refresh(0, family(1))
    expect(dialled.map(({ socket }) => socket.destroyed)).toEqual([true, false])
    await client.refresh(0)
    expect(dialled.map(({ socket }) => socket.destroyed)).toEqual([true, true])
    // They say so a little later.
    await setImmediate()
  })
})
