import { describe, expect, it } from 'vitest'
import {
  encodeErrorCode,
  encodeXorAddress,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  StunWriter,
} from '../../../protocols/stun/index.ts'
import type { TurnFleet } from '../fleet.ts'
import type { SentDatagram } from './fake-datapath.testkit.ts'
import { settle, type TestClient, transaction, udpTransport } from './test-client.testkit.ts'
import { type KitOptions, TurnKit } from './turn-kit.testkit.ts'

const other = { address: '10.9.9.9', port: 3478 }
const allocation = 'bbbbbbbb00000001'

/** Servers `bbbbbbbb`, which lives at `other`, and this one. */
class FakeFleet implements TurnFleet {
  readonly tag = 'aaaaaaaa'
  addressOf(tag: string): typeof other | undefined {
    return tag === 'bbbbbbbb' ? other : undefined
  }

  onGone(): () => void {
    return () => undefined
  }
}

interface Told {
  readonly type: number
  readonly bytes: Buffer
  readonly from: { readonly address: string; readonly port: number }
}

/** A server, and what it has passed on to the other. */
async function open(options: KitOptions = {}) {
  const kit = await TurnKit.open({ fleet: new FakeFleet(), ...options })
  const told: Told[] = []
  kit.datapath.peers.set(`${other.address} ${other.port}`, ({ bytes, from }: SentDatagram) =>
    told.push({ type: bytes.readUInt16BE(0), bytes, from }),
  )
  let number = 1
  const ticket = (of = allocation): Uint8Array => kit.state.tickets.seal({ allocation: of, number: number++ })
  const refresh = (of?: string, lifetime?: number): Buffer => {
    const writer = new StunWriter(StunMethod.refresh, StunClass.request, transaction())
    if (lifetime !== undefined) writer.u32(StunAttribute.lifetime, lifetime)
    return writer.attribute(StunAttribute.mobilityTicket, ticket(of)).finish()
  }
  /** The other server answers what it was told last. */
  const answer = (
    build: (writer: StunWriter) => unknown = (writer) => writer.u32(StunAttribute.lifetime, 600),
    of: Told | undefined = told.at(-1),
    kind: number = StunClass.success,
  ): void => {
    if (of === undefined) throw new TypeError('nothing was asked')
    const { method, transactionId } = StunMessage.decode(of.bytes) as StunMessage
    const writer = new StunWriter(method, kind as typeof StunClass.success, transactionId)
    build(writer)
    send(writer.finish(), of)
  }
  const refuse = (code: number): void =>
    answer(
      (writer) => writer.attribute(StunAttribute.errorCode, encodeErrorCode({ code, reason: '' })),
      undefined,
      StunClass.error,
    )
  const send = (bytes: Uint8Array, to: Told | undefined = told.at(-1), from = other): void => {
    const endpoint = to && kit.datapath.endpointAt(to.from.address, to.from.port)
    if (endpoint === undefined) throw new TypeError('nobody hears it')
    kit.datapath.receive(endpoint.id, from, bytes)
  }
  /** Moves a client here, and has it granted. */
  const moved = async <C extends TestClient>(client: C): Promise<C> => {
    client.put(refresh())
    await settle()
    answer()
    return client
  }
  return { kit, told, refresh, answer, refuse, send, moved }
}

describe('a client with the ticket of another server', () => {
  it('is led there, and what the other server answers is led back', async () => {
    const { kit, told, refresh, refuse, answer } = await open()
    const client = kit.client()
    const first = refresh()
    client.put(first)
    await settle()
    expect(told.map(({ bytes }) => bytes)).toEqual([first])
    refuse(438)
    expect(client.inbox.map((bytes) => bytes.readUInt16BE(0))).toEqual([0x0114])
    const second = refresh()
    client.put(second)
    expect(told[1]).toEqual({ type: 4, bytes: second, from: told[0]?.from })
    answer()
    expect(client.inbox.map((bytes) => bytes.readUInt16BE(0))).toEqual([0x0114, 0x0104])
    expect(kit.state.detours.proved).toBe(1)
  })

  it('by UDP goes on in channels by flows, both ways, and with requests and indications', async () => {
    const { kit, told, send, moved } = await open()
    const client = await moved(kit.client())
    told.length = 0
    const received = kit.listener.traffic.rxPackets
    client.sendChannel(0x4000, 'up')
    expect(kit.listener.traffic.rxPackets).toBe(received)
    client.sendTo({ address: '192.0.2.7', port: 7 }, 'indication')
    for (const method of [StunMethod.createPermission, StunMethod.channelBind, StunMethod.connect]) {
      client.put(new StunWriter(method, StunClass.request, transaction()).finish())
    }
    expect(told.map(({ type }) => type)).toEqual([0x4000, 0x0016, 8, 9, 10])
    send(Buffer.from('4000000464617461', 'hex'))
    send(
      new StunWriter(StunMethod.data, StunClass.indication, transaction())
        .xorAddress(StunAttribute.xorPeerAddress, { address: '192.0.2.7', port: 7 })
        .attribute(StunAttribute.data, Buffer.from('down'))
        .finish(),
    )
    expect(client.heard).toEqual(['0x4000 data', '192.0.2.7 7 down'])
    const up = { packets: 0, bytes: 0 }
    const down = { packets: 0, bytes: 0 }
    kit.state.detours.addFlowTraffic(kit.listener, up, down)
    expect([up, down]).toEqual([
      { packets: 1, bytes: 8 },
      { packets: 1, bytes: 8 },
    ])
  })

  it('over a stream is given frames with padding, and may send long ones', async () => {
    const { kit, told, send, moved } = await open()
    const client = await moved(kit.streamClient())
    client.sendChannel(0x4000, 'odd')
    expect(told.at(-1)?.bytes.toString('hex')).toBe('400000036f646400')
    send(Buffer.from('400000036f6464', 'hex'))
    expect(client.inbox.at(-1)?.toString('hex')).toBe('400000036f646400')
    expect(kit.core.isServed(client.key)).toBe(true)
    client.disconnect()
    expect(kit.held()).toMatchObject({ endpoints: 0, meters: 0, timers: 0 })
  })

  it('has its Binding answered here, and gets no allocation here besides', async () => {
    const { kit, told, moved, refuse } = await open()
    const client = kit.client()
    await client.challenge()
    await moved(client)
    const before = told.length
    const { onOpen } = kit.datapath
    kit.datapath.onOpen = () => {
      throw new Error('a relay is opened')
    }
    const binding = await client.ask(
      new StunWriter(StunMethod.binding, StunClass.request, transaction()).finish(),
    )
    expect(binding?.message.attribute(StunAttribute.xorMappedAddress)).toEqual(
      Buffer.from(encodeXorAddress(client, binding?.message.transactionId ?? new Uint8Array(12))),
    )
    expect((await client.request(StunMethod.allocate, udpTransport)).code).toBe(437)
    expect(told.length).toBe(before)
    kit.datapath.onOpen = onOpen
    // When the other server has nothing for it any more it may.
    client.put(new StunWriter(StunMethod.createPermission, StunClass.request, transaction()).finish())
    refuse(437)
    expect((await client.request(StunMethod.allocate, udpTransport)).code).toBeUndefined()
  })

  it('that asks for an allocation here at the same time does not get both', async () => {
    const { kit, refresh, answer } = await open()
    const client = kit.client()
    await client.challenge()
    const go = kit.datapath.holdOpening()
    client.put(client.signed(StunMethod.allocate, udpTransport))
    client.put(refresh())
    go()
    await settle()
    expect(client.read(client.inbox.at(-1) ?? Buffer.alloc(0)).code).toBe(437)
    answer()
    expect(kit.held()).toMatchObject({ allocations: 0, quota: 0, endpoints: 1 })
  })

  it.each([
    ['as long as its allocation lives', 600, 605_000],
    ['no longer than a day, whatever it is told', 0xffff_ffff, 86_405_000],
  ])('has its way %s', async (_title, lifetime, ms) => {
    const { kit, refresh, answer } = await open()
    const client = kit.client()
    client.put(refresh())
    await settle()
    answer((writer) => writer.u32(StunAttribute.lifetime, lifetime))
    kit.clock.advance(ms - 1)
    expect(kit.state.detours.size).toBe(1)
    kit.clock.advance(1)
    expect(kit.held()).toMatchObject({ endpoints: 0, flows: 0, meters: 0, timers: 0 })
  })

  it('has it longer with each Refresh, and no more when that ends the allocation', async () => {
    const { kit, told, moved, answer } = await open()
    const client = await moved(kit.client())
    kit.clock.advance(600_000)
    client.put(new StunWriter(StunMethod.refresh, StunClass.request, transaction()).finish())
    answer()
    kit.clock.advance(600_000)
    expect(kit.state.detours.size).toBe(1)
    client.put(new StunWriter(StunMethod.refresh, StunClass.request, transaction()).finish())
    answer((writer) => writer.u32(StunAttribute.lifetime, 0))
    expect(client.inbox).toHaveLength(told.length)
    expect(kit.held()).toMatchObject({ endpoints: 0, flows: 0, meters: 0, timers: 0 })
  })

  it('that moves on leaves at most two behind', async () => {
    const { kit, told, moved } = await open({ limits: { attemptsPerSecond: 0 } })
    for (let port = 1; port <= 10; port++) await moved(kit.client({ port }))
    expect([kit.state.detours.size, kit.state.detours.proved]).toEqual([3, 10])
    told.length = 0
    for (let port = 1; port <= 10; port++) kit.client({ port }).sendChannel(0x4000, 'up')
    expect(told).toHaveLength(3)
  })

  it('loses it with the server, with its listener, and when it is refused', async () => {
    const { kit, refresh, refuse, moved } = await open()
    await moved(kit.client())
    kit.state.detours.endTo('cccccccc')
    expect(kit.state.detours.size).toBe(1)
    kit.state.detours.endTo('bbbbbbbb')
    expect(kit.state.detours.size).toBe(0)
    await moved(kit.client())
    kit.state.detours.endAll(kit.listener)
    expect(kit.state.detours.size).toBe(0)
    kit.client().put(refresh())
    await settle()
    refuse(437)
    expect(kit.held()).toMatchObject({ endpoints: 0, flows: 0, meters: 0, timers: 0 })
  })
})

describe('before the other server has granted anything', () => {
  it('only what asks for it is passed, a few times, and nothing but answers comes back', async () => {
    const { kit, told, refresh, send } = await open()
    const client = kit.client()
    client.put(refresh())
    await settle()
    client.sendChannel(0x4000, 'data')
    client.sendTo({ address: '192.0.2.7', port: 7 }, 'indication')
    client.put(new StunWriter(StunMethod.createPermission, StunClass.request, transaction()).finish())
    expect(told.map(({ type }) => type)).toEqual([4])
    send(Buffer.from('4000000464617461', 'hex'))
    send(new StunWriter(StunMethod.data, StunClass.indication, transaction()).finish())
    send(Buffer.from('0104'))
    expect(client.inbox).toEqual([])
    for (let i = 0; i < 30; i++) client.put(refresh())
    expect(told).toHaveLength(17)
  })

  it('the way is kept for 20 seconds', async () => {
    const { kit, refresh, refuse } = await open()
    kit.client().put(refresh())
    await settle()
    kit.clock.advance(19_999)
    refuse(438)
    expect(kit.state.detours.size).toBe(1)
    kit.clock.advance(1)
    expect(kit.held()).toMatchObject({ endpoints: 0, flows: 0, meters: 0, timers: 0 })
  })

  it('what is heard from elsewhere is not the other server', async () => {
    const { kit, told, refresh, send } = await open()
    const client = kit.client()
    client.put(refresh())
    await settle()
    send(
      new StunWriter(StunMethod.refresh, StunClass.success, transaction())
        .u32(StunAttribute.lifetime, 600)
        .finish(),
      told[0],
      { address: '10.9.9.10', port: 3478 },
    )
    expect([client.inbox.length, kit.state.detours.proved]).toEqual([0, 0])
  })

  it('one ticket gets four ways, all together 256', async () => {
    const { kit, refresh } = await open({ limits: { attemptsPerSecond: 0 } })
    for (let port = 1; port <= 6; port++) kit.client({ port }).put(refresh())
    await settle()
    expect(kit.state.detours.size).toBe(4)
    for (let i = 0; i < 300; i++) {
      const address = `203.0.${113 + Math.floor(i / 200)}.${i % 200}`
      kit.client({ address }).put(refresh(`bbbbbbbb${(i + 16).toString(16).padStart(8, '0')}`))
    }
    await settle()
    expect([kit.state.detours.size, kit.state.detours.refused.limit]).toEqual([256, 300 + 6 - 256])
  })

  it('a source gets 32 at a time, so that others have room; those that were granted are not of them', async () => {
    const { kit, refresh, told, answer } = await open({ limits: { attemptsPerSecond: 0 } })
    const come = async (port: number): Promise<void> => {
      kit.client({ port }).put(refresh(`bbbbbbbb${port.toString(16).padStart(8, '0')}`))
      await settle()
    }
    for (let port = 1; port <= 40; port++) await come(port)
    expect([kit.state.detours.size, kit.state.detours.refused.limit]).toEqual([32, 8])
    answer(undefined, told[0])
    await come(41)
    await come(42)
    expect([kit.state.detours.size, kit.state.detours.refused.limit]).toEqual([33, 9])
    kit.state.detours.endAll()
    for (let port = 1; port <= 40; port++) await come(port)
    expect(kit.state.detours.size).toBe(32)
  })

  it('a source gets as many as it may have allocations', async () => {
    const { kit, refresh } = await open({ limits: { maxPerAddress: 2 } })
    for (let port = 1; port <= 4; port++) kit.client({ port }).put(refresh(`bbbbbbbb0000000${port}`))
    await settle()
    expect(kit.state.detours.size).toBe(2)
    kit.state.detours.endAll()
    for (let port = 1; port <= 4; port++) kit.client({ port }).put(refresh(`bbbbbbbb0000000${port}`))
    await settle()
    expect(kit.state.detours.size).toBe(2)
  })

  it('a source that tries too often gets no answer', async () => {
    const { kit, refresh } = await open({ limits: { attemptsPerSecond: 1 } })
    for (let port = 1; port <= 4; port++) kit.client({ port }).put(refresh(`bbbbbbbb0000000${port}`))
    await settle()
    expect([kit.state.detours.size, kit.core.unanswered]).toEqual([2, 2])
  })
})

describe('a ticket is none for a detour', () => {
  it.each<[string, KitOptions, string]>([
    ['of this server', {}, 'aaaaaaaa00000001'],
    ['of a server that is gone', {}, 'cccccccc00000001'],
    ['where mobility is off', { mobility: false }, allocation],
  ])('%s', async (_title, options, of) => {
    const { kit, told, refresh } = await open(options)
    const client = kit.client()
    client.put(refresh(of))
    await settle()
    expect([told.length, kit.state.detours.size, client.inbox.length]).toEqual([0, 0, 1])
    const ticket = kit.state.tickets.seal({ allocation: of, number: 1 })
    const answer = await client.refresh(600, (writer) =>
      writer.attribute(StunAttribute.mobilityTicket, ticket),
    )
    expect([answer.code, answer.signed]).toEqual([437, 'sha1'])
  })

  it('while this server drains', async () => {
    const { kit, refresh } = await open()
    kit.state.isDraining = true
    kit.client().put(refresh())
    await settle()
    expect(kit.state.detours.size).toBe(0)
  })
})

describe('a way that cannot be opened', () => {
  it('is given up, counted, and leaves nothing', async () => {
    const { kit, refresh } = await open()
    kit.datapath.onOpen = () => {
      throw new Error('no descriptors')
    }
    kit.client().put(refresh())
    await settle()
    expect(kit.state.detours.refused.failed).toBe(1)
    expect(kit.held()).toMatchObject({ endpoints: 0, meters: 0, timers: 0 })
  })

  it('or opens too late is closed again', async () => {
    const { kit, refresh } = await open()
    const go = kit.datapath.holdOpening()
    kit.client().put(refresh())
    kit.clock.advance(20_000)
    go()
    await settle()
    expect(kit.held()).toMatchObject({ endpoints: 0, meters: 0, timers: 0 })
  })

  it('sends the last Refresh of those that came while it opened', async () => {
    const { kit, told, refresh } = await open()
    const go = kit.datapath.holdOpening()
    const client = kit.client()
    const last = refresh()
    for (const bytes of [refresh(), refresh(), last]) client.put(bytes)
    go()
    await settle()
    expect(told.map(({ bytes }) => bytes)).toEqual([last])
  })
})

describe('what a way carries', () => {
  it('is limited as an allocation is', async () => {
    const { kit, told, moved } = await open({ limits: { packetsPerSecond: 10 } })
    const client = await moved(kit.client())
    kit.clock.advance(1000)
    told.length = 0
    for (let i = 0; i < 30; i++) client.sendChannel(0x4000, 'up')
    expect(told).toHaveLength(10)
    const stream = await moved(kit.streamClient())
    kit.clock.advance(1000)
    told.length = 0
    for (let i = 0; i < 30; i++) stream.sendChannel(0x4000, 'up')
    expect(told).toHaveLength(10)
  })
})

describe('ids of allocations', () => {
  it('begin with the tag of their server, and no two are alike', async () => {
    const { kit } = await open()
    let calls = 0
    const { random } = kit.state
    // The first two are the same.
    Object.assign(kit.state, {
      random: (bytes: number) => (bytes === 4 && calls++ < 2 ? new Uint8Array(4) : random(bytes)),
    })
    await kit.client({ port: 1 }).allocate()
    await kit.client({ port: 2 }).allocate(udpTransport)
    const ids = [...kit.state.allocations.all()].map(({ id }) => id)
    expect(ids[0]).toBe('aaaaaaaa00000000')
    expect(ids[1]).toMatch(/^aaaaaaaa[0-9a-f]{8}$/)
    expect(ids[1]).not.toBe(ids[0])
  })
})
