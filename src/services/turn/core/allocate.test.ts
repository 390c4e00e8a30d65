import { describe, expect, it } from 'vitest'
import {
  decodeAddress,
  StunAttribute,
  StunClass,
  StunMethod,
  StunWriter,
} from '../../../protocols/stun/index.ts'
import {
  encodeAddressFamily,
  encodeEvenPort,
  encodeRequestedTransport,
} from '../../../protocols/turn/index.ts'
import {
  addressOf,
  type Build,
  family,
  noAttributes,
  transaction,
  udpAnd,
  udpTransport,
  settle,
} from './test-client.testkit.ts'
import { relay4, relay6, TurnKit } from './turn-kit.testkit.ts'

const tcpTransport: Build = (writer) =>
  writer.attribute(StunAttribute.requestedTransport, encodeRequestedTransport(6))
const evenPort: Build = (writer) => writer.attribute(StunAttribute.evenPort, encodeEvenPort(false))
const token: Build = (writer) => writer.attribute(StunAttribute.reservationToken, new Uint8Array(8))
const dontFragment: Build = (writer) => writer.attribute(StunAttribute.dontFragment, new Uint8Array(0))
const additional =
  (number: 1 | 2): Build =>
  (writer) =>
    writer.attribute(StunAttribute.additionalAddressFamily, encodeAddressFamily(number))
const all =
  (...builds: readonly Build[]): Build =>
  (writer) => {
    for (const build of builds) build(writer)
  }

describe('a successful Allocate', () => {
  it('says the relayed address, the lifetime and the client its own address, signed', async () => {
    const kit = await TurnKit.open()
    const answer = await kit.client().request(StunMethod.allocate, udpTransport)
    expect(answer.code).toBeUndefined()
    expect(answer.signed).toBe('sha1')
    const relayed = addressOf(answer, StunAttribute.xorRelayedAddress)
    expect(relayed?.address).toBe('10.0.0.1')
    expect(relayed?.port).toBeGreaterThanOrEqual(49_152)
    expect(kit.datapath.endpointAt('10.0.0.1', relayed?.port ?? 0)).toBeDefined()
    expect(addressOf(answer, StunAttribute.xorMappedAddress)).toEqual({ address: '192.0.2.10', port: 40_000 })
    expect(answer.message.u32(StunAttribute.lifetime)).toBe(600)
    expect(answer.message.fingerprintOffset).toBeUndefined()
  })

  it.each([
    ['no LIFETIME', undefined, 600],
    ['0, which is as if there were none', 0, 600],
    ['too little', 5, 600],
    ['something between', 1000, 1000],
    ['just the most', 3600, 3600],
    ['too much', 3601, 3600],
    ['as much as there is', 0xffff_ffff, 3600],
  ])('with %s grants what is allowed', async (_title, asked, granted) => {
    const kit = await TurnKit.open()
    const answer = await kit.client().request(
      StunMethod.allocate,
      udpAnd((writer) => {
        if (asked !== undefined) writer.u32(StunAttribute.lifetime, asked)
      }),
    )
    expect(answer.message.u32(StunAttribute.lifetime)).toBe(granted)
    kit.clock.advance(granted * 1000 - 1)
    expect(kit.held()['allocations']).toBe(1)
    kit.clock.advance(1001)
    expect(kit.held()['allocations']).toBe(0)
    expect(kit.ended).toEqual(['expired'])
  })

  it('has a FINGERPRINT when the request had one', async () => {
    const kit = await TurnKit.open()
    const answer = await kit.client().request(StunMethod.allocate, udpTransport, { hasFingerprint: true })
    expect(answer.message.fingerprintOffset).toBeDefined()
  })

  it('is for IPv6 when that is asked for, also of a client by IPv4', async () => {
    const kit = await TurnKit.open()
    expect((await kit.client().allocate(udpAnd(family(2)))).address).toBe('2001:db8:1::1')
  })

  it('says the advertised address where it is another than the one that is bound', async () => {
    const kit = await TurnKit.open({ relays: [{ ...relay4, advertised: '203.0.113.9' }] })
    const relayed = await kit.client().allocate()
    expect(relayed.address).toBe('203.0.113.9')
    expect(kit.datapath.endpointAt('10.0.0.1', relayed.port)).toBeDefined()
  })

  it('holds for one five-tuple: the same client at another address of the server has one of its own', async () => {
    const kit = await TurnKit.open({ interfaces: ['198.51.100.1', '198.51.100.2'] })
    const first = await kit.client({ local: 0 }).allocate()
    const second = await kit.client({ local: 1 }).allocate()
    expect(second.port).not.toBe(first.port)
    expect(kit.held()['allocations']).toBe(2)
  })
})

describe('a repeated Allocate', () => {
  it('with the same transaction gets the same success for 40 seconds', async () => {
    const kit = await TurnKit.open()
    const client = kit.client()
    await client.challenge()
    const request = client.signed(StunMethod.allocate, udpTransport)
    await client.ask(request)
    const [, first] = client.inbox
    kit.clock.advance(39_000)
    await client.ask(request)
    expect(client.inbox[2]).toEqual(first)
    expect(kit.held()['allocations']).toBe(1)
    kit.clock.advance(2000)
    expect((await client.ask(request))?.code).toBe(437)
  })

  it('with another transaction gets 437', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    const answer = await client.request(StunMethod.allocate, udpTransport)
    expect([answer.code, answer.signed]).toEqual([437, 'sha1'])
    expect(kit.held()['allocations']).toBe(1)
  })

  it('of another user on the five-tuple gets 437', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    client.user = 'bob'
    expect((await client.request(StunMethod.allocate, udpTransport)).code).toBe(437)
  })

  it('that overtakes the first waits for its answer, and one of another transaction gets 437', async () => {
    const kit = await TurnKit.open()
    const open = kit.datapath.holdOpening()
    const client = kit.client()
    await client.challenge()
    const request = client.signed(StunMethod.allocate, udpTransport)
    expect(await client.ask(request)).toBeUndefined()
    expect(await client.ask(request)).toBeUndefined()
    expect((await client.request(StunMethod.allocate, udpTransport)).code).toBe(437)
    open()
    await settle()
    expect(kit.held()).toMatchObject({ allocations: 1, endpoints: 1, quota: 1 })
  })

  it('is allowed once the one before has ended', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    await client.refresh(0)
    await client.allocate()
    expect(kit.held()['allocations']).toBe(1)
  })
})

describe('an Allocate that is refused', () => {
  const refusals: readonly (readonly [string, Build, number])[] = [
    ['without REQUESTED-TRANSPORT', noAttributes, 400],
    [
      'with one that is too short',
      (writer) => writer.attribute(StunAttribute.requestedTransport, Uint8Array.of(17)),
      400,
    ],
    [
      'for a protocol that is not offered',
      (writer) => writer.attribute(StunAttribute.requestedTransport, encodeRequestedTransport(33)),
      442,
    ],
    ['for TCP peers, over UDP', tcpTransport, 400],
    ['with DONT-FRAGMENT, which the engine cannot do', udpAnd(dontFragment), 420],
    ['with RESERVATION-TOKEN and EVEN-PORT', udpAnd(all(token, evenPort)), 400],
    ['with RESERVATION-TOKEN and REQUESTED-ADDRESS-FAMILY', udpAnd(all(token, family(1))), 400],
    ['with RESERVATION-TOKEN and ADDITIONAL-ADDRESS-FAMILY', udpAnd(all(token, additional(2))), 400],
    [
      'with a RESERVATION-TOKEN of another size',
      udpAnd((writer) => writer.attribute(StunAttribute.reservationToken, new Uint8Array(4))),
      400,
    ],
    ['with a RESERVATION-TOKEN that nobody was given', udpAnd(token), 508],
    ['with REQUESTED- and ADDITIONAL-ADDRESS-FAMILY', udpAnd(all(family(1), additional(2))), 400],
    ['with ADDITIONAL-ADDRESS-FAMILY of IPv4', udpAnd(additional(1)), 400],
    [
      'for a family that nobody knows',
      udpAnd((writer) => writer.attribute(StunAttribute.requestedAddressFamily, Uint8Array.of(3, 0, 0, 0))),
      440,
    ],
    [
      'with an address family of one byte',
      udpAnd((writer) => writer.attribute(StunAttribute.requestedAddressFamily, Uint8Array.of(1))),
      400,
    ],
    [
      'with an empty EVEN-PORT',
      udpAnd((writer) => writer.attribute(StunAttribute.evenPort, new Uint8Array(0))),
      400,
    ],
    [
      'with a pair of ports and two families',
      udpAnd((writer) => {
        writer.attribute(StunAttribute.evenPort, encodeEvenPort(true))
        additional(2)(writer)
      }),
      400,
    ],
    [
      'with a ticket, which only a Refresh brings',
      udpAnd((writer) => writer.attribute(StunAttribute.mobilityTicket, new Uint8Array(32))),
      400,
    ],
    [
      'with a LIFETIME of two bytes',
      udpAnd((writer) => writer.attribute(StunAttribute.lifetime, new Uint8Array(2))),
      400,
    ],
    [
      'with attributes that must be understood and are not',
      udpAnd((writer) => writer.attribute(0x7001, new Uint8Array(4)).attribute(0x7002, new Uint8Array(0))),
      420,
    ],
    // The order of the checks.
    [
      'for an unknown protocol with a malformed LIFETIME',
      all(
        (writer) => writer.attribute(StunAttribute.requestedTransport, encodeRequestedTransport(99)),
        (writer) => writer.attribute(StunAttribute.lifetime, new Uint8Array(2)),
      ),
      442,
    ],
    ['with DONT-FRAGMENT and a contradiction', udpAnd(all(dontFragment, token, evenPort)), 420],
    [
      'without a transport, and with an unknown attribute',
      (writer) => writer.attribute(0x7001, new Uint8Array(0)),
      420,
    ],
  ]

  it.each(refusals)('%s costs nothing: %#', async (_title, build, code) => {
    const kit = await TurnKit.open()
    const answer = await kit.client().request(StunMethod.allocate, build)
    expect([answer.code, answer.signed]).toEqual([code, 'sha1'])
    expect(kit.held()).toMatchObject({ allocations: 0, allocating: 0, endpoints: 0, quota: 0, timers: 0 })
  })

  it('names the attributes that it does not understand', async () => {
    const kit = await TurnKit.open()
    const client = kit.client()
    const unknown = await client.request(
      StunMethod.allocate,
      udpAnd((writer) => writer.attribute(0x7001, new Uint8Array(4)).attribute(0x7002, new Uint8Array(0))),
    )
    expect([...(unknown.message.attribute(StunAttribute.unknownAttributes) ?? [])]).toEqual([
      0x70, 0x01, 0x70, 0x02,
    ])
    const fragment = await client.request(StunMethod.allocate, udpAnd(dontFragment))
    expect([...(fragment.message.attribute(StunAttribute.unknownAttributes) ?? [])]).toEqual([0x00, 0x1a])
  })

  it('takes attributes that may be ignored', async () => {
    const kit = await TurnKit.open()
    await kit.client().allocate(udpAnd((writer) => writer.text(StunAttribute.software, 'client 1')))
  })

  it('takes DONT-FRAGMENT where the engine can do it', async () => {
    const kit = await TurnKit.open({ features: ['dont-fragment'] })
    await kit.client().allocate(udpAnd(dontFragment))
  })

  it('gets 440 for a family that the listener has not, and for IPv4 by default', async () => {
    const only4 = await TurnKit.open({ relays: [relay4] })
    expect((await only4.client().request(StunMethod.allocate, udpAnd(family(2)))).code).toBe(440)
    const only6 = await TurnKit.open({ relays: [relay6] })
    expect((await only6.client().request(StunMethod.allocate, udpTransport)).code).toBe(440)
    await only6.client().allocate(udpAnd(family(2)))
  })

  it('gets 442 for TCP where only UDP is offered, and the other way round', async () => {
    const kit = await TurnKit.open({ listener: { relayTransports: ['udp'] } })
    expect((await kit.streamClient().request(StunMethod.allocate, tcpTransport)).code).toBe(442)
    const tcpOnly = await TurnKit.open({ listener: { relayTransports: ['tcp'] } })
    expect((await tcpOnly.client().request(StunMethod.allocate, udpTransport)).code).toBe(442)
  })

  it.each([
    ['EVEN-PORT', evenPort],
    ['RESERVATION-TOKEN', token],
    ['DONT-FRAGMENT', dontFragment],
  ])('gets 400 for TCP peers with %s', async (_title, build) => {
    const kit = await TurnKit.open({ features: ['dont-fragment'] })
    const answer = await kit.streamClient().request(StunMethod.allocate, all(tcpTransport, build))
    expect(answer.code).toBe(400)
  })

  it('gets 405 for mobility where that is off', async () => {
    const kit = await TurnKit.open({ mobility: false })
    const asking = udpAnd((writer) => writer.attribute(StunAttribute.mobilityTicket, new Uint8Array(0)))
    expect((await kit.client().request(StunMethod.allocate, asking)).code).toBe(405)
  })

  it('is sent elsewhere only once it is known who asks', async () => {
    const kit = await TurnKit.open({
      redirect: ({ userId }) => (userId === 'bob' ? { address: '198.51.100.9', port: 3479 } : undefined),
    })
    const stranger = await kit
      .client({ user: 'bob', port: 5 })
      .ask(new StunWriter(StunMethod.allocate, StunClass.request, transaction()).finish())
    expect(stranger?.code).toBe(401)
    const answer = await kit.client({ user: 'bob' }).request(StunMethod.allocate, udpTransport)
    expect([answer.code, answer.signed]).toEqual([300, 'sha1'])
    const server = answer.message.attribute(StunAttribute.alternateServer)
    expect(server === undefined ? undefined : decodeAddress(server)).toEqual({
      address: '198.51.100.9',
      port: 3479,
    })
    expect(kit.held()['quota']).toBe(0)
    await kit.client({ user: 'alice', port: 6 }).allocate()
  })
})

describe('an Allocate when there is no more room', () => {
  it('gets 486 when the user has all that it may have, before anything else is looked at', async () => {
    const kit = await TurnKit.open({
      limits: { maxPerUser: 1 },
      redirect: () => ({ address: '198.51.100.9', port: 1 }),
    })
    kit.core.configure({ ...kit.state.settings, redirect: undefined })
    await kit.allocated({ port: 1 })
    expect((await kit.client({ port: 2 }).request(StunMethod.allocate, udpTransport)).code).toBe(486)
    await kit.allocated({ port: 3, user: 'bob' })
    kit.state.isDraining = true
    expect((await kit.client({ port: 2 }).request(StunMethod.allocate, udpTransport)).code).toBe(486)
  })

  it('gets 508 while the server is draining, and those that exist go on', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    kit.state.isDraining = true
    expect((await kit.client({ port: 2 }).request(StunMethod.allocate, udpTransport)).code).toBe(508)
    expect((await client.refresh()).code).toBeUndefined()
    expect(await client.permit('192.0.2.200')).toBeUndefined()
    expect(kit.quota.outstanding).toBe(1)
  })

  it('gets 508 when the server began to drain while its relay was opened', async () => {
    const kit = await TurnKit.open()
    const open = kit.datapath.holdOpening()
    const client = kit.client()
    await client.challenge()
    client.put(client.signed(StunMethod.allocate, udpTransport))
    await settle()
    kit.state.isDraining = true
    open()
    await settle()
    expect(client.read(client.inbox[1] ?? Buffer.alloc(0)).code).toBe(508)
    expect(kit.held()).toMatchObject({ allocations: 0, endpoints: 0, quota: 0 })
  })

  it('gets 508 over the most in all', async () => {
    const kit = await TurnKit.open({ limits: { maxAllocations: 2 } })
    await kit.allocated({ port: 1 })
    await kit.allocated({ port: 2 })
    expect((await kit.client({ port: 3 }).request(StunMethod.allocate, udpTransport)).code).toBe(508)
  })

  it('gets 508 over the most of one source, an IPv6 /64 being one, also when they come at once', async () => {
    const kit = await TurnKit.open({ limits: { maxPerAddress: 2 } })
    const clients = [1, 2, 3].map((port) => kit.client({ port }))
    for (const client of clients) await client.challenge()
    const open = kit.datapath.holdOpening()
    for (const client of clients) client.put(client.signed(StunMethod.allocate, udpTransport))
    await settle()
    open()
    await settle()
    const codes = clients.map((client) => client.read(client.inbox[1] ?? Buffer.alloc(0)).code)
    expect(codes).toEqual([undefined, undefined, 508])
    expect(kit.held()).toMatchObject({ allocations: 2, endpoints: 2, quota: 2 })
    await kit.allocated({ address: '192.0.2.11' })
    await kit.allocated({ address: '2001:db8:5::1', local: 1, port: 1 })
    await kit.allocated({ address: '2001:db8:5::2', local: 1, port: 1 })
    const third = kit.client({ address: '2001:db8:5::3', local: 1, port: 1 })
    expect((await third.request(StunMethod.allocate, udpTransport)).code).toBe(508)
  })

  it('gets 508 when no port is left, and ports go back', async () => {
    const kit = await TurnKit.open({ relays: [{ ...relay4, from: 50_000, to: 50_001 }] })
    const { client } = await kit.allocated({ port: 1 })
    await kit.allocated({ port: 2 })
    const third = kit.client({ port: 3 })
    expect((await third.request(StunMethod.allocate, udpTransport)).code).toBe(508)
    expect(kit.quota.outstanding).toBe(2)
    await client.refresh(0)
    await third.allocate()
  })

  it('gets 508 when the relay cannot be opened, whatever the reason', async () => {
    const kit = await TurnKit.open()
    kit.datapath.onOpen = () => {
      throw Object.assign(new Error('no more'), { code: 'DATAPATH_SYSTEM' })
    }
    expect((await kit.client().request(StunMethod.allocate, udpTransport)).code).toBe(508)
    expect(kit.held()).toMatchObject({ allocations: 0, allocating: 0, quota: 0 })
  })

  it('tries another port when somebody else on the machine has the one that was chosen', async () => {
    const kit = await TurnKit.open()
    let failures = 3
    kit.datapath.onOpen = () => {
      if (failures-- > 0) throw Object.assign(new Error('taken'), { code: 'DATAPATH_PORT_TAKEN' })
    }
    await kit.client().allocate()
    kit.datapath.onOpen = () => {
      throw Object.assign(new Error('taken'), { code: 'DATAPATH_PORT_TAKEN' })
    }
    expect((await kit.client({ port: 2 }).request(StunMethod.allocate, udpTransport)).code).toBe(508)
  })
})

describe('a client whose listener is closed while its relay is opened', () => {
  it('leaves nothing behind', async () => {
    const kit = await TurnKit.open()
    const open = kit.datapath.holdOpening()
    const client = kit.client()
    await client.challenge()
    client.put(client.signed(StunMethod.allocate, udpTransport))
    await settle()
    await kit.udp.close()
    open()
    await settle()
    expect(kit.held()).toMatchObject({ allocations: 0, allocating: 0, flows: 0, quota: 0, endpoints: -1 })
    await kit.udp.start()
  })
})
