import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { FakeDatapath } from './fake-datapath.testkit.ts'
import { Meters } from './meters.ts'
import { TurnKit } from './turn-kit.testkit.ts'

const peer = { address: '192.0.2.200', port: 9000 }
const none = { packetsPerSecond: 0, bytesPerSecond: 0, userBytesPerSecond: 0, totalBytesPerSecond: 0 }

describe('Meters', () => {
  it('are none without limits', () => {
    const datapath = new FakeDatapath({ clock: new ManualClock() })
    const set = new Meters(datapath, none).open('a')
    expect([set.ids, datapath.meters.size]).toEqual([[], 0])
    set.close()
  })

  it('are one of each allocation, one of each user and one of all, and go with the last who uses them', () => {
    const datapath = new FakeDatapath({ clock: new ManualClock() })
    const meters = new Meters(datapath, {
      packetsPerSecond: 10,
      bytesPerSecond: 1000,
      userBytesPerSecond: 2000,
      totalBytesPerSecond: 3000,
    })
    const [first, second, other] = [meters.open('a'), meters.open('a'), meters.open('all')]
    expect(datapath.meters.size).toBe(6)
    expect(first.ids.map((id) => datapath.meters.get(id)?.options)).toEqual([
      { packetsPerSecond: 10, bytesPerSecond: 1000 },
      { bytesPerSecond: 2000 },
      { bytesPerSecond: 3000 },
    ])
    expect(first.ids[0]).not.toBe(second.ids[0])
    expect(first.ids.slice(1)).toEqual(second.ids.slice(1))
    expect(other.ids[1]).not.toBe(first.ids[1])
    first.close()
    expect(datapath.meters.size).toBe(5)
    second.close()
    expect(datapath.meters.size).toBe(3)
    other.close()
    expect(datapath.meters.size).toBe(0)
  })
})

describe('limits of data', () => {
  it.each(['UDP', 'TCP'])('hold for indications and channels of a client by %s', async (way) => {
    const kit = await TurnKit.open({ limits: { packetsPerSecond: 4 } })
    const client = way === 'UDP' ? kit.client() : kit.streamClient()
    await client.allocate()
    await client.bind(0x4000, peer)
    const far = kit.peer(peer.address, peer.port)
    kit.clock.advance(1000)
    for (let i = 0; i < 10; i++) client.sendChannel(0x4000, 'x')
    expect(far.heard).toHaveLength(4)
    kit.clock.advance(1000)
    for (let i = 0; i < 10; i++) client.sendTo(peer, 'x')
    expect(far.heard).toHaveLength(8)
    const [allocation] = kit.state.allocations.all()
    if (allocation === undefined) throw new TypeError('none')
    expect(kit.core.view(allocation).dropped).toBe(12)
  })

  it('hold for what peers send', async () => {
    const kit = await TurnKit.open({ limits: { bytesPerSecond: 100_000, packetsPerSecond: 0 } })
    const client = kit.client()
    const relayed = await client.allocate()
    await client.bind(0x4000, peer)
    const far = kit.peer(peer.address, peer.port)
    kit.clock.advance(1000)
    for (let i = 0; i < 5; i++) far.send(relayed, 'x'.repeat(30_000))
    expect(client.heard).toHaveLength(3)
  })

  it('of one allocation leave the others alone; those of a user do not', async () => {
    const kit = await TurnKit.open({ limits: { packetsPerSecond: 0, userBytesPerSecond: 65_536 } })
    const clients = [kit.client({ port: 1 }), kit.client({ port: 2 }), kit.client({ port: 3, user: 'bob' })]
    const far = kit.peer(peer.address, peer.port)
    for (const client of clients) {
      await client.allocate()
      await client.permit(peer)
    }
    kit.clock.advance(1000)
    for (const client of clients) client.sendTo(peer, 'x'.repeat(50_000))
    expect(far.heard).toHaveLength(2)
  })

  it('do not drop requests of a client that has none left', async () => {
    const kit = await TurnKit.open({ limits: { packetsPerSecond: 2 } })
    const client = kit.streamClient()
    await client.allocate()
    await client.permit(peer)
    for (let i = 0; i < 10; i++) client.sendTo(peer, 'x')
    expect((await client.refresh(600)).code).toBeUndefined()
  })
})
