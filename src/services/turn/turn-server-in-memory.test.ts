import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { StunMethod } from '../../protocols/stun/index.ts'
import { FakeDatapath } from './core/fake-datapath.testkit.ts'
import { UdpTestClient, udpTransport, settle } from './core/test-client.testkit.ts'
import { StaticUsers } from './credentials/static-users.ts'
import type { AllocationEnd } from './events.ts'
import type { TurnListenerOptions, TurnServerOptions } from './options.ts'
import { admitAll, denyAll } from './peers/fixed-policies.ts'
import { TurnServer } from './turn-server.ts'

const peer = { address: '192.0.2.200', port: 9000 }

const udp: TurnListenerOptions = {
  name: 'udp',
  transport: 'udp',
  listen: { host: '198.51.100.1', port: 3478 },
  relays: [{ address: '10.0.0.1' }],
  peers: admitAll,
}

const users = new StaticUsers([
  { username: 'alice', password: 'wonderland' },
  { username: 'bob', password: 'builder' },
])

interface Running {
  readonly server: TurnServer
  readonly clock: ManualClock
  readonly datapath: FakeDatapath
  readonly ended: AllocationEnd[]
  readonly client: (port: number, user?: string) => UdpTestClient
}

async function running(options: Partial<TurnServerOptions> = {}): Promise<Running> {
  const clock = new ManualClock()
  const datapath = new FakeDatapath({ clock })
  const ended: AllocationEnd[] = []
  const server = new TurnServer({
    listeners: [udp],
    credentials: users,
    clock,
    datapath,
    events: { allocationDeleted: (_info, end) => ended.push(end) },
    ...options,
  })
  await server.start()
  onTestFinished(async () => {
    await server.close()
    expect([
      server.allocationCount,
      datapath.endpoints.size,
      datapath.flows.size,
      datapath.meters.size,
      clock.pending,
    ]).toEqual([0, 0, 0, 0, 0])
  })
  return {
    server,
    clock,
    datapath,
    ended,
    client: (port, user = 'alice') =>
      new UdpTestClient({ datapath }, { address: '192.0.2.10', port, local: 0, user }),
  }
}

async function allocate(client: UdpTestClient): Promise<number | undefined> {
  return (await client.request(StunMethod.allocate, udpTransport)).code
}

describe('TurnServer', () => {
  it('says where it listens and who is there', async () => {
    const { server, client } = await running()
    expect(server.ports).toEqual(new Map([['udp', 3478]]))
    const one = client(1)
    await one.allocate()
    await one.bind(0x4000, peer)
    expect(server.listAllocations()).toMatchObject([
      {
        userId: 'alice',
        username: 'alice',
        realm: 'sluice',
        listener: 'udp',
        transport: 'udp',
        client: '192.0.2.10:1',
        relayTransport: 'udp',
        peers: ['192.0.2.200:9000'],
      },
    ])
  })

  it('counts what goes through a listener, flows among it', async () => {
    const { server, client } = await running()
    const one = client(1)
    await one.allocate()
    await one.bind(0x4000, peer)
    const [before] = server.listenerStats()
    one.sendChannel(0x4000, 'abcd')
    const [after] = server.listenerStats()
    expect(after).toMatchObject({
      name: 'udp',
      connections: 1,
      connectionsTotal: 1,
      rx: { packets: (before?.rx.packets ?? 0) + 1, bytes: (before?.rx.bytes ?? 0) + 8 },
    })
    await one.refresh(0)
    const [end] = server.listenerStats()
    expect([end?.connections, end?.connectionsTotal]).toEqual([0, 1])
    expect(end?.rx.packets).toBe((after?.rx.packets ?? 0) + 1)
  })
})

describe('other options', () => {
  it('about peers hold at once, and nothing is disturbed', async () => {
    const { server, client, datapath } = await running()
    const one = client(1)
    await one.allocate()
    await one.bind(0x4000, peer)
    const heard: string[] = []
    datapath.peers.set(`${peer.address} ${peer.port}`, ({ bytes }) => heard.push(bytes.toString()))
    one.sendChannel(0x4000, 'one')
    expect(await server.update({ listeners: [{ ...udp, peers: denyAll }] })).toEqual({ restarted: [] })
    one.sendChannel(0x4000, 'two')
    expect([heard, server.allocationCount]).toEqual([['one'], 1])
    expect(await one.permit(peer)).toBe(403)
  })

  it('about users leave allocations, which go on with the password that they were made with', async () => {
    const { server, client } = await running()
    const one = client(1)
    await one.allocate()
    await server.update({ credentials: new StaticUsers([{ username: 'bob', password: 'builder' }]) })
    expect((await one.refresh(600)).code).toBeUndefined()
    expect(await allocate(client(2))).toBe(401)
    expect(await allocate(client(3, 'bob'))).toBeUndefined()
  })

  it('about the most of a user hold for new allocations, and those there are count', async () => {
    const { server, client } = await running()
    for (const port of [1, 2]) expect(await allocate(client(port))).toBeUndefined()
    await server.update({ limits: { maxPerUser: 2 } })
    expect(await allocate(client(3))).toBe(486)
  })
})

describe('a listener that is closed while a client is served', () => {
  it('leaves nothing of an allocation that was being made', async () => {
    const { server, client, datapath } = await running()
    const one = client(1)
    await one.challenge()
    const open = datapath.holdOpening()
    one.put(one.signed(StunMethod.allocate, udpTransport))
    await settle()
    datapath.onOpen = () => undefined
    await server.update({ listeners: [] })
    open()
    await settle()
    expect([server.allocationCount, datapath.endpoints.size]).toEqual([0, 0])
  })
})
