import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { eventually } from '../../foundation/eventually.testkit.ts'
import { type Remote } from '../../mechanisms/datapath/index.ts'
import { StunMethod } from '../../protocols/stun/index.ts'
import { FakeDatapath } from './core/fake-datapath.testkit.ts'
import { settle, TestClient, udpTransport } from './core/test-client.testkit.ts'
import { StaticUsers } from './credentials/static-users.ts'
import type { TurnFleet } from './fleet.ts'
import type { TurnServerOptions } from './options.ts'
import { admitAll } from './peers/fixed-policies.ts'
import { bringing, mobile, SocketClient, ticketOf } from './socket-client.testkit.ts'
import { TurnServer } from './turn-server.ts'

const users = new StaticUsers([
  { username: 'alice', password: 'wonderland' },
  { username: 'bob', password: 'builder' },
])
const secret = new Uint8Array(32).fill(7)

/** Servers that know each other by their tags. */
class FakeFleet {
  readonly #servers = new Map<string, () => Remote | undefined>()
  readonly #listeners = new Set<(tag: string) => void>()

  member(tag: string): TurnFleet {
    return {
      tag,
      addressOf: (of) => this.#servers.get(of)?.(),
      onGone: (listener) => {
        this.#listeners.add(listener)
        return () => void this.#listeners.delete(listener)
      },
    }
  }

  join(tag: string, server: TurnServer): void {
    this.#servers.set(tag, () => server.udpAddresses[0])
  }

  leave(tag: string): void {
    this.#servers.delete(tag)
    for (const listener of this.#listeners) listener(tag)
  }
}

describe('two servers of a fleet', () => {
  /** A client that talks with whichever server it is led to. */
  class RoamingClient extends TestClient {
    readonly #datapath: FakeDatapath
    at: string

    constructor(datapath: FakeDatapath, at: string, port: number, user = 'alice') {
      super({ address: '192.0.2.10', port, user })
      this.#datapath = datapath
      this.at = at
      datapath.peers.set(`192.0.2.10 ${port}`, ({ from, bytes }) => {
        if (from.address === this.at) this.inbox.push(bytes)
      })
    }

    override put(bytes: Uint8Array): void {
      const endpoint = this.#datapath.endpointAt(this.at, 3478)
      if (endpoint !== undefined) this.#datapath.receive(endpoint.id, this, Buffer.from(bytes))
    }
  }

  const [a, b] = ['198.51.100.1', '198.51.100.2']
  const peer = { address: '192.0.2.200', port: 9000 }

  async function open(options: Partial<TurnServerOptions> = {}) {
    const clock = new ManualClock()
    const datapath = new FakeDatapath({ clock, interfaces: ['198.51.100.3'] })
    const fleet = new FakeFleet()
    const start = async (host: string, tag: string, relay: string): Promise<TurnServer> => {
      const server = new TurnServer({
        listeners: [
          {
            name: 'udp',
            transport: 'udp',
            listen: { host, port: 3478 },
            relays: [{ address: relay }],
            peers: admitAll,
          },
        ],
        credentials: users,
        secret,
        clock,
        datapath,
        fleet: fleet.member(tag),
        ...options,
      })
      await server.start()
      fleet.join(tag, server)
      return server
    }
    const [one, two] = [await start(a, 'aaaaaaaa', '10.0.0.1'), await start(b, 'bbbbbbbb', '10.0.0.2')]
    onTestFinished(async () => {
      await two.close()
      await one.close()
      expect([datapath.endpoints.size, datapath.flows.size, datapath.meters.size, clock.pending]).toEqual([
        0, 0, 0, 0,
      ])
    })
    const heard: string[] = []
    datapath.peers.set(`${peer.address} ${peer.port}`, ({ from, bytes }) =>
      heard.push(`${from.address} ${bytes.toString()}`),
    )
    const client = (port: number, at: string = a, user?: string): RoamingClient =>
      new RoamingClient(datapath, at, port, user)
    /** What the peer sends to a client's relayed address. */
    const fromPeer = (relayed: Remote, text: string): void => {
      const endpoint = datapath.endpointAt(relayed.address, relayed.port)
      if (endpoint !== undefined) datapath.receive(endpoint.id, peer, Buffer.from(text))
    }
    return { clock, datapath, fleet, one, two, heard, client, fromPeer }
  }

  it('take each other’s nonces', async () => {
    const { client, two } = await open()
    const moving = client(1)
    await moving.challenge()
    moving.at = b
    const answer = await moving.ask(moving.signed(StunMethod.allocate, udpTransport))
    expect([answer?.code, two.allocationCount]).toEqual([undefined, 1])
  })

  it('with other secrets do not', async () => {
    const { client } = await open({ secret: undefined as never })
    const moving = client(1)
    await moving.challenge()
    moving.at = b
    expect((await moving.ask(moving.signed(StunMethod.allocate, udpTransport)))?.code).toBe(438)
  })

  it('serve a client that has moved from one to the other, by the allocation that it has', async () => {
    const { client, one, two, heard, fromPeer } = await open()
    const before = client(1)
    const answer = await before.request(StunMethod.allocate, mobile)
    const ticket = ticketOf(answer)
    await before.bind(0x4000, peer)
    const [allocation] = one.listAllocations()
    const relayed = { address: '10.0.0.1', port: Number(allocation?.relayed[0]?.split(':')[1]) }
    // It comes from another address, to the other server, with the nonce of the first.
    const after = client(2, b)
    Object.assign(after, { realm: before.realm, nonce: before.nonce })
    const moved = await after.refresh(600, bringing(ticket))
    expect([moved.code, moved.signed, ticketOf(moved).length]).toEqual([undefined, 'sha1', 32])
    fromPeer(relayed, 'before it has sent')
    after.sendChannel(0x4000, 'here')
    fromPeer(relayed, 'after')
    expect(before.heard).toEqual(['0x4000 before it has sent'])
    expect(after.heard).toEqual(['0x4000 after'])
    const other = { ...peer, port: 9001 }
    after.sendTo(peer, 'an indication')
    expect(await after.permit(other)).toBeUndefined()
    expect(await after.bind(0x4001, other)).toBeUndefined()
    expect(heard).toEqual(['10.0.0.1 here', '10.0.0.1 an indication'])
    expect([one.allocationCount, two.allocationCount]).toEqual([1, 0])
    expect(one.listAllocations()[0]?.client).toMatch(/^198\.51\.100\.3:/)
    expect((await after.refresh(0)).code).toBeUndefined()
    expect(one.allocationCount).toBe(0)
    // The way has gone with it: now it may have an allocation here.
    await after.allocate()
    expect(two.allocationCount).toBe(1)
  })

  it('let it move on: back to the first, and to the other once more', async () => {
    const { client, one } = await open()
    const ticket = ticketOf(await client(1).request(StunMethod.allocate, mobile))
    const second = ticketOf(await client(2, b).refresh(600, bringing(ticket)))
    const third = ticketOf(await client(3, a).refresh(600, bringing(second)))
    const last = await client(4, b).refresh(600, bringing(third))
    expect([last.code, one.allocationCount]).toEqual([undefined, 1])
    // An old ticket opens a way, at whose end it is worth nothing.
    expect((await client(5, b).refresh(600, bringing(second))).code).toBe(437)
  })

  it('do not give one user’s allocation to another', async () => {
    const { client } = await open()
    const ticket = ticketOf(await client(1).request(StunMethod.allocate, mobile))
    expect((await client(2, b, 'bob').refresh(600, bringing(ticket))).code).toBe(441)
    expect((await client(3, b).refresh(600, bringing(ticket))).code).toBeUndefined()
  })

  it('go on with a nonce that has run out', async () => {
    const { client, clock } = await open({ limits: { nonceSeconds: 60 } })
    const ticket = ticketOf(await client(1).request(StunMethod.allocate, mobile))
    const after = client(2, b)
    await after.refresh(600, bringing(ticket))
    clock.advance(120_000)
    expect((await after.refresh(600)).code).toBeUndefined()
  })

  it('end the way when the first has gone; the client is told when it asks', async () => {
    const { client, fleet, one, two, datapath } = await open()
    const ticket = ticketOf(await client(1).request(StunMethod.allocate, mobile))
    const after = client(2, b)
    const next = ticketOf(await after.refresh(600, bringing(ticket)))
    await one.close()
    // The listener of the second, and the way.
    expect(datapath.endpoints.size).toBe(2)
    fleet.leave('aaaaaaaa')
    expect(datapath.endpoints.size).toBe(1)
    expect((await after.refresh(600)).code).toBe(437)
    expect((await after.refresh(600, bringing(next))).code).toBe(437)
    expect(two.allocationCount).toBe(0)
  })

  it('close with clients that are led elsewhere, after the time that these are given', async () => {
    const { client, two, clock } = await open()
    const ticket = ticketOf(await client(1).request(StunMethod.allocate, mobile))
    const after = client(2, b)
    await after.refresh(600, bringing(ticket))
    const own = client(3, b)
    await own.allocate()
    let isDrained = false
    const drained = two.drain({ graceMs: 60_000 }).then(() => {
      isDrained = true
    })
    await own.refresh(0)
    await settle()
    expect([isDrained, two.allocationCount]).toEqual([false, 0])
    await after.refresh(0)
    await drained
    expect(clock.pending).toBe(0)
  })

  it('want a tag that fits', () => {
    const fleet = new FakeFleet().member('A')
    expect(() => new TurnServer({ listeners: [], credentials: users, fleet, engine: 'node' })).toThrow(
      expect.objectContaining({ code: 'TURN_BAD_OPTION' }),
    )
  })
})

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function connect(...to: Parameters<typeof SocketClient.open>): Promise<SocketClient> {
  const client = await SocketClient.open(...to)
  closers.push(() => client.close())
  return client
}

describe.each(['node', 'auto'] as const)('two servers on loopback, engine %s', (engine) => {
  async function start(fleet: FakeFleet, tag: string): Promise<TurnServer> {
    const common = {
      listen: { host: '127.0.0.1', port: 0 },
      relays: [{ address: '127.0.0.1' }],
      peers: admitAll,
    }
    const server = new TurnServer({
      listeners: [
        { ...common, name: 'udp', transport: 'udp' },
        { ...common, name: 'tcp', transport: 'tcp' },
      ],
      credentials: users,
      secret,
      engine,
      fleet: fleet.member(tag),
    })
    await server.start()
    closers.push(() => server.close())
    fleet.join(tag, server)
    return server
  }

  it.each(['udp', 'tcp'] as const)('serve a client that goes on by %s', async (transport) => {
    const fleet = new FakeFleet()
    const [one, two] = [await start(fleet, 'aaaaaaaa'), await start(fleet, 'bbbbbbbb')]
    const echo = createSocket('udp4').bind(0, '127.0.0.1')
    await once(echo, 'listening')
    closers.push(() => echo.close())
    echo.on('message', (bytes, { address, port }) => echo.send(bytes, port, address))
    const peer = { address: '127.0.0.1', port: echo.address().port }
    const before = await connect(one.ports.get('udp') ?? 0)
    const ticket = ticketOf(await before.request(StunMethod.allocate, mobile))
    await before.bind(0x4000, peer)
    const after = await connect(two.ports.get(transport) ?? 0, transport)
    Object.assign(after, { realm: before.realm, nonce: before.nonce })
    expect((await after.refresh(600, bringing(ticket))).code).toBeUndefined()
    // Not all of what is sent at once need arrive: one after the other.
    for (let i = 0; i < 20; i++) {
      after.sendChannel(0x4000, `message ${i}`)
      await eventually(() => expect(after.heard.at(-1)).toBe(`0x4000 message ${i}`))
    }
    expect(await after.permit({ ...peer, address: '127.0.0.2' })).toBeUndefined()
    expect([one.allocationCount, two.allocationCount]).toEqual([1, 0])
    const stats = two.listenerStats().find(({ name }) => name === transport)
    expect(stats?.rx.packets).toBeGreaterThanOrEqual(20)
    expect((await after.refresh(0)).code).toBeUndefined()
    expect(one.allocationCount).toBe(0)
    expect((await after.refresh(600)).code).toBe(437)
  })
})
