import { describe, expect, it } from 'vitest'
import { StunAttribute, StunMethod } from '../../../protocols/stun/index.ts'
import {
  type Answer,
  type Build,
  type TestClient,
  udpAnd,
  udpTransport,
  settle,
} from './test-client.testkit.ts'
import { TurnKit } from './turn-kit.testkit.ts'

const peer = { address: '192.0.2.200', port: 9000 }
const mobile: Build = udpAnd((writer) => writer.attribute(StunAttribute.mobilityTicket, new Uint8Array(0)))

function ticketOf({ message }: Answer): Uint8Array {
  return Uint8Array.from(message.attribute(StunAttribute.mobilityTicket) ?? [])
}

function bringing(ticket: Uint8Array): Build {
  return (writer) => writer.attribute(StunAttribute.mobilityTicket, ticket)
}

async function begin(client: TestClient): Promise<Uint8Array> {
  return ticketOf(await client.request(StunMethod.allocate, mobile))
}

describe('a client that moves', () => {
  it('gets a ticket when it asks for one, and no two alike', async () => {
    const kit = await TurnKit.open()
    const one = await begin(kit.client({ port: 1 }))
    const two = await begin(kit.client({ port: 2 }))
    expect([one.length, two.length]).toEqual([32, 32])
    expect(Buffer.compare(one, two)).not.toBe(0)
    expect(ticketOf(await kit.client({ port: 3 }).request(StunMethod.allocate, udpTransport))).toHaveLength(0)
  })

  it('is served where it was until its first data comes from where it is', async () => {
    const kit = await TurnKit.open()
    const before = kit.client({ port: 1 })
    const after = kit.client({ port: 2 })
    const far = kit.peer(peer.address, peer.port)
    const ticket = await begin(before)
    await before.bind(0x4000, peer)
    const [allocation] = kit.state.allocations.all()
    const relayed = allocation?.relays[0]?.relayed ?? peer
    const moved = await after.refresh(600, bringing(ticket))
    expect([moved.code, moved.signed]).toEqual([undefined, 'sha1'])
    far.send(relayed, 'one')
    before.sendChannel(0x4000, 'still here')
    after.sendChannel(0x4000, 'here now')
    far.send(relayed, 'two')
    expect([before.heard, after.heard]).toEqual([['0x4000 one'], ['0x4000 two']])
    expect(far.heard).toEqual(['still here', 'here now'])
    before.sendChannel(0x4000, 'from where it was')
    expect(far.heard).toHaveLength(2)
    expect((await before.refresh(600)).code).toBe(437)
    expect((await after.refresh(600)).code).toBeUndefined()
    expect(kit.held()).toMatchObject({ allocations: 1, quota: 1, endpoints: 1 })
  })

  it('moves with a Send indication too, by which its channels and permissions go on', async () => {
    const kit = await TurnKit.open()
    const before = kit.client({ port: 1 })
    const after = kit.client({ port: 2 })
    const far = kit.peer(peer.address, peer.port)
    const ticket = await begin(before)
    await before.permit(peer)
    before.sendTo(peer, 'one')
    await after.refresh(600, bringing(ticket))
    after.sendTo(peer, 'two')
    expect(far.heard).toEqual(['one', 'two'])
    expect(new Set(far.inbox.map(({ from }) => from.port)).size).toBe(1)
    const [info] = [...kit.state.allocations.all()].map((one) => kit.core.view(one))
    expect([info?.client, info?.sent]).toEqual(['192.0.2.10:2', { packets: 2, bytes: 6 }])
  })

  it('does not take lapsed permissions for new ones', async () => {
    const kit = await TurnKit.open()
    const before = kit.client({ port: 1 })
    const after = kit.client({ port: 2 })
    const ticket = await begin(before)
    await before.bind(0x4000, peer)
    const far = kit.peer(peer.address, peer.port)
    kit.clock.advance(302_000)
    await after.refresh(600, bringing(ticket))
    after.sendChannel(0x4000, 'moves')
    after.sendChannel(0x4000, 'by the engine')
    expect(far.heard).toEqual([])
    await after.permit(peer)
    after.sendChannel(0x4000, 'permitted')
    expect(far.heard).toEqual(['permitted'])
  })

  it('gets another ticket each time, and the one before is worth nothing', async () => {
    const kit = await TurnKit.open()
    const ticket = await begin(kit.client({ port: 1 }))
    const second = kit.client({ port: 2 })
    const next = ticketOf(await second.refresh(600, bringing(ticket)))
    expect(Buffer.compare(next, ticket)).not.toBe(0)
    expect((await kit.client({ port: 3 }).refresh(600, bringing(ticket))).code).toBe(437)
    expect((await kit.client({ port: 4 }).refresh(600, bringing(next))).code).toBeUndefined()
    // The one who asked before has not come after all.
    expect((await second.refresh(600)).code).toBe(437)
  })

  it('gets the same ticket again for the same transaction', async () => {
    const kit = await TurnKit.open()
    const ticket = await begin(kit.client({ port: 1 }))
    const after = kit.client({ port: 2 })
    await after.challenge()
    const request = after.signed(StunMethod.refresh, bringing(ticket))
    const first = await after.ask(request)
    const again = await after.ask(request)
    if (first === undefined || again === undefined) throw new TypeError('no answer')
    expect([again.code, ticketOf(again)]).toEqual([undefined, ticketOf(first)])
  })

  it('must be who it was', async () => {
    const kit = await TurnKit.open()
    const ticket = await begin(kit.client({ port: 1 }))
    const thief = kit.client({ port: 2, user: 'bob' })
    const answer = await thief.refresh(600, bringing(ticket))
    expect([answer.code, answer.signed]).toEqual([441, 'sha1'])
    expect((await kit.client({ port: 3 }).refresh(600, bringing(ticket))).code).toBeUndefined()
  })

  it.each([
    ['another size', new Uint8Array(31)],
    ['nobody’s making', new Uint8Array(32)],
    ['no bytes', new Uint8Array(0)],
  ])('with a ticket of %s gets 437', async (_title, ticket) => {
    const kit = await TurnKit.open()
    expect((await kit.client().refresh(600, bringing(ticket))).code).toBe(437)
  })

  it('with the ticket of an allocation that has ended gets 437', async () => {
    const kit = await TurnKit.open()
    const client = kit.client({ port: 1 })
    const ticket = await begin(client)
    await client.refresh(0)
    expect((await kit.client({ port: 2 }).refresh(600, bringing(ticket))).code).toBe(437)
  })

  it('may end its allocation from where it is', async () => {
    const kit = await TurnKit.open()
    const before = kit.client({ port: 1 })
    const ticket = await begin(before)
    const after = kit.client({ port: 2 })
    expect((await after.refresh(0, bringing(ticket))).code).toBeUndefined()
    expect(kit.held()).toMatchObject({ allocations: 0, flows: 0 })
    await before.allocate()
    await after.allocate()
  })

  it('by TCP has lost its connection first: the allocation waits for it, and expires', async () => {
    const kit = await TurnKit.open()
    const before = kit.streamClient()
    const ticket = await begin(before)
    await before.bind(0x4000, peer)
    before.disconnect()
    expect(kit.held()['allocations']).toBe(1)
    const after = kit.client({ port: 2 })
    await after.refresh(600, bringing(ticket))
    after.sendChannel(0x4000, 'here')
    const far = kit.peer(peer.address, peer.port)
    after.sendChannel(0x4000, 'by the engine')
    expect(far.heard).toEqual(['by the engine'])
    const lost = kit.streamClient({ port: 3 })
    await begin(lost)
    lost.disconnect()
    kit.clock.advance(601_000)
    expect(kit.ended).toEqual(['expired', 'expired'])
  })

  it('and whose new connection is lost before it sent anything stays where it was', async () => {
    const kit = await TurnKit.open()
    const before = kit.client({ port: 1 })
    const ticket = await begin(before)
    const after = kit.streamClient()
    const next = ticketOf(await after.refresh(600, bringing(ticket)))
    after.disconnect()
    expect((await before.refresh(600)).code).toBeUndefined()
    expect((await kit.client({ port: 2 }).refresh(600, bringing(next))).code).toBeUndefined()
  })

  it('leaves its old connection', async () => {
    const kit = await TurnKit.open()
    const before = kit.streamClient({ port: 1 })
    const ticket = await begin(before)
    const after = kit.streamClient({ port: 2 })
    await after.refresh(600, bringing(ticket))
    after.sendTo(peer, 'here')
    expect([before.isClosed, after.isClosed, kit.ended]).toEqual([true, false, []])
  })

  it('to another source counts there', async () => {
    const kit = await TurnKit.open({ limits: { maxPerAddress: 1 } })
    const ticket = await begin(kit.client({ address: '192.0.2.1' }))
    const after = kit.client({ address: '192.0.2.2' })
    await after.refresh(600, bringing(ticket))
    after.sendTo(peer, 'here')
    await kit.allocated({ address: '192.0.2.1' })
    const third = kit.client({ address: '192.0.2.2', port: 7 })
    expect((await third.request(StunMethod.allocate, udpTransport)).code).toBe(508)
  })

  it('to where an allocation of its own is being made does not get both', async () => {
    const kit = await TurnKit.open()
    const ticket = await begin(kit.client({ port: 1 }))
    const after = kit.client({ port: 2 })
    await after.challenge()
    const open = kit.datapath.holdOpening()
    after.put(after.signed(StunMethod.allocate, udpTransport))
    await settle()
    expect((await after.refresh(600, bringing(ticket))).code).toBeUndefined()
    open()
    await settle()
    expect(after.read(after.inbox.at(-1) ?? Buffer.alloc(0)).code).toBe(437)
    expect(kit.held()).toMatchObject({ allocations: 1, endpoints: 1, quota: 1 })
  })

  it('where mobility was not asked for gets 400 for a ticket, and 405 where it is off', async () => {
    const kit = await TurnKit.open()
    const { client } = await kit.allocated()
    expect((await client.refresh(600, bringing(new Uint8Array(32)))).code).toBe(400)
    const off = await TurnKit.open({ mobility: false })
    const still = await off.allocated()
    expect((await still.client.refresh(600, bringing(new Uint8Array(32)))).code).toBe(405)
  })
})
