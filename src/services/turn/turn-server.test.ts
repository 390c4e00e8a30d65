import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { makeCertificate } from '../../mechanisms/net/certificate.testkit.ts'
import { createRegistry } from '../../mechanisms/telemetry/index.ts'
import { StaticUsers } from './credentials/static-users.ts'
import type { TurnEvents } from './events.ts'
import type { TurnListenerOptions, TurnServerOptions } from './options.ts'
import { admitAll, denyAll } from './peers/fixed-policies.ts'
import { TestTurnClient, type TestTurnClientOptions } from './turn-client.testkit.ts'
import { TurnServer } from './turn-server.ts'

const alice = { username: 'alice', password: 'wonderland' }
const common = { relays: [{ address: '127.0.0.1' }], peers: admitAll, listen: { host: '127.0.0.1', port: 0 } }
const udp: TurnListenerOptions = { ...common, name: 'udp', transport: 'udp' }
const tcp: TurnListenerOptions = { ...common, name: 'tcp', transport: 'tcp' }

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function start(options: Partial<TurnServerOptions> = {}): Promise<TurnServer> {
  const server = new TurnServer({
    listeners: [udp, tcp],
    credentials: new StaticUsers([alice]),
    engine: 'node',
    ...options,
  })
  await server.start()
  closers.push(() => server.close())
  return server
}

async function join(
  server: TurnServer,
  name: 'udp' | 'tcp' | 'tls',
  options: Partial<TestTurnClientOptions> = {},
): Promise<TestTurnClient> {
  const port = server.ports.get(name) ?? 0
  const client = await TestTurnClient.open({ ...alice, transport: name, port, ...options })
  closers.push(() => client[Symbol.asyncDispose]())
  return client
}

async function echoPeer() {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  socket.on('message', (bytes, { address, port }) => socket.send(bytes, port, address))
  closers.push(async () => socket.close())
  return { address: '127.0.0.1', port: socket.address().port }
}

async function takenPort(): Promise<number> {
  const server = await new Promise<Server>((resolve) => {
    const opened = createServer().listen(0, '127.0.0.1', () => resolve(opened))
  })
  closers.push(() => new Promise((resolve) => server.close(resolve)))
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** A client of each listener, allocated and with a channel to a peer that echoes. */
async function relays(server: TurnServer, names: readonly ('udp' | 'tcp' | 'tls')[]) {
  const peer = await echoPeer()
  const clients: TestTurnClient[] = []
  for (const name of names) {
    const client = await join(server, name)
    await client.allocate()
    await client.bind(peer)
    await client.echo(peer, `${name} before`)
    clients.push(client)
  }
  return {
    clients,
    peer,
    expectAlive: async (text: string) => {
      for (const client of clients) await client.echo(peer, text)
    },
  }
}

describe('TurnServer', () => {
  it('opens all listeners or none', async () => {
    const registry = createRegistry('1.2.3')
    const taken: TurnListenerOptions = { ...tcp, listen: { host: '127.0.0.1', port: await takenPort() } }
    const options = { credentials: new StaticUsers([alice]), engine: 'node', registry } as const
    const server = new TurnServer({ ...options, listeners: [udp, taken] })
    await expect(server.start()).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    expect(server.ports.size).toBe(0)
    // Nothing is left of it in the registry either, nor of one that ran.
    await (await start({ registry })).close()
    await start({ registry })
  })

  it('counts a quota over all listeners together, and gives back what was released', async () => {
    const server = await start({ limits: { maxPerUser: 2 } })
    const [first, second, third] = [
      await join(server, 'udp'),
      await join(server, 'tcp'),
      await join(server, 'tcp'),
    ]
    await first.allocate()
    await second.allocate()
    await expect(third.allocate()).rejects.toMatchObject({ code: 486 })
    await first.release()
    await third.allocate()
    expect(server.allocationCount).toBe(2)
  })

  it('refuses new allocations while it drains, and is closed with the last', async () => {
    const ends: string[] = []
    const events: TurnEvents = { allocationDeleted: (_, end) => ends.push(end) }
    const server = await start({ events })
    const { clients, expectAlive } = await relays(server, ['udp', 'tcp'])
    let isClosed = false
    const closed = server.close({ graceMs: 60_000 }).then(() => {
      isClosed = true
    })
    const late = await join(server, 'udp')
    await expect(late.allocate()).rejects.toMatchObject({ code: 508 })
    await expectAlive('draining')
    for (const client of clients) {
      expect(isClosed).toBe(false)
      await client.release()
    }
    await closed
    expect(ends).toEqual(['released', 'released'])
  })

  it('ends what is left when the time to drain is over', async () => {
    const ends: string[] = []
    const server = await start({ events: { allocationDeleted: (_, end) => ends.push(end) } })
    await relays(server, ['udp', 'tcp'])
    await server.close({ graceMs: 20 })
    expect(ends).toEqual(['closed', 'closed'])
  })

  it('ends one allocation, or all of a user', async () => {
    const server = await start()
    const { clients } = await relays(server, ['udp', 'udp', 'tcp'])
    const [{ id } = { id: '' }] = server.listAllocations()
    expect(server.killAllocation(id)).toBe(true)
    expect(server.killAllocation(id)).toBe(false)
    expect(server.killUser('bob')).toBe(0)
    expect(server.killUser('alice')).toBe(2)
    expect(server.listAllocations()).toEqual([])
    await clients[2]?.ended
  })
})

describe('TurnServer.update', () => {
  it('keeps allocations when relays, rules, users, realm and limits change', async () => {
    const server = await start()
    const ports = server.ports
    const { expectAlive, clients } = await relays(server, ['udp', 'tcp'])
    const { restarted } = await server.update({
      listeners: [udp, tcp].map((listener) => ({
        ...listener,
        peers: { ...admitAll },
        relays: [{ address: '127.0.0.1', ports: { from: 50_000, to: 50_100 } }],
      })),
      credentials: new StaticUsers([{ username: 'bob', password: 'builder' }]),
      realm: 'elsewhere',
      limits: { maxPerUser: 1 },
    })
    expect(restarted).toEqual([])
    expect(server.ports).toEqual(ports)
    await expectAlive('after')
    for (const client of clients) await client.refresh()
    await expect((await join(server, 'udp')).allocate()).rejects.toMatchObject({ code: 401 })
    const bob = await join(server, 'udp', { username: 'bob', password: 'builder' })
    const { relayed } = await bob.allocate()
    expect(relayed.port).toBeGreaterThanOrEqual(50_000)
    expect(relayed.port).toBeLessThanOrEqual(50_100)
  })

  it('stops at once what a new rule does not admit', async () => {
    const server = await start()
    const { clients, peer } = await relays(server, ['udp', 'tcp'])
    await server.update({ listeners: [{ ...udp, peers: denyAll }, tcp] })
    expect(server.listAllocations().map(({ peerTraffic }) => peerTraffic.length)).toEqual([0, 1])
    const [first, second] = clients
    first?.send(peer, 'not any more')
    await expect(first?.bind(peer)).rejects.toMatchObject({ code: 403 })
    await second?.echo(peer, 'other listener')
    expect(server.listAllocations().map(({ peerTraffic }) => peerTraffic.length)).toEqual([0, 1])
    expect(first?.received).toEqual(['udp before'])
  })

  it('shows new connections another certificate, and leaves the others alone', async () => {
    const [first, second] = [await makeCertificate(['first.test']), await makeCertificate(['second.test'])]
    const tls: TurnListenerOptions = { ...common, name: 'tls', transport: 'tls', certificate: first }
    const server = await start({ listeners: [udp, tls] })
    const { expectAlive } = await relays(server, ['tls'])
    await server.update({ listeners: [udp, { ...tls, certificate: second }] })
    await expectAlive('after')
    expect((await join(server, 'tls')).certificate?.subject.CN).toBe('second.test')
    server.setCertificate('tls', first)
    expect((await join(server, 'tls')).certificate?.subject.CN).toBe('first.test')
  })

  it('opens only the listener anew whose transport changes', async () => {
    const certificate = await makeCertificate()
    const ends: string[] = []
    const events: TurnEvents = { allocationDeleted: ({ listener }, end) => ends.push(`${listener} ${end}`) }
    const server = await start({ events })
    const { clients, peer } = await relays(server, ['udp', 'tcp'])
    const secure = { ...tcp, transport: 'tls', certificate } as const
    expect(await server.update({ listeners: [udp, secure] })).toEqual({ restarted: ['tcp'] })
    expect(ends).toEqual(['tcp closed'])
    await clients[1]?.ended
    await clients[0]?.echo(peer, 'after')
    const port = server.ports.get('tcp') ?? 0
    await (await join(server, 'tls', { port })).allocate()
  })

  it('opens a TLS listener anew that begins to share its port, since ALPN says so', async () => {
    const certificate = await makeCertificate()
    const tls: TurnListenerOptions = { ...common, name: 'tls', transport: 'tls', certificate }
    const server = await start({ listeners: [tls] })
    const onHttp: TurnListenerOptions['onHttp'] = (socket) => socket.end('HTTP')
    expect(await server.update({ listeners: [{ ...tls, onHttp }] })).toEqual({ restarted: ['tls'] })
    await join(server, 'tls', { alpn: ['http/1.1'] })
    expect(await server.update({ listeners: [{ ...tls, onHttp: (socket) => socket.end() }] })).toEqual({
      restarted: [],
    })
  })

  it('closes listeners that are gone, and opens new ones', async () => {
    const server = await start()
    const { clients, peer } = await relays(server, ['udp', 'tcp'])
    await server.update({ listeners: [udp, { ...tcp, name: 'tcp2' }] })
    expect([...server.ports.keys()]).toEqual(['udp', 'tcp2'])
    await clients[1]?.ended
    await clients[0]?.echo(peer, 'after')
    await (await join(server, 'tcp', { port: server.ports.get('tcp2') ?? 0 })).allocate()
  })

  it('is as before when a listener cannot be opened', async () => {
    const [before, after] = [await makeCertificate(['before.test']), await makeCertificate(['after.test'])]
    const tls: TurnListenerOptions = { ...common, name: 'tls', transport: 'tls', certificate: before }
    const server = await start({ listeners: [udp, tls], limits: { maxPerUser: 3 } })
    const ports = server.ports
    const { expectAlive } = await relays(server, ['udp', 'tls'])
    const taken = { ...tcp, listen: { host: '127.0.0.1', port: await takenPort() } }
    const update = server.update({
      listeners: [{ ...udp, peers: denyAll }, { ...tls, certificate: after }, { ...tcp, name: 'ok' }, taken],
      credentials: new StaticUsers([]),
      limits: { maxPerUser: 1 },
    })
    await expect(update).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    expect(server.ports).toEqual(ports)
    await expectAlive('after')
    const client = await join(server, 'tls')
    expect(client.certificate?.subject.CN).toBe('before.test')
    await client.allocate()
  })

  it('opens again what it had closed when the rest cannot be opened', async () => {
    const server = await start()
    const { clients, peer } = await relays(server, ['udp', 'tcp'])
    const port = await takenPort()
    const moved = { ...tcp, listen: { host: '127.0.0.1', port } }
    await expect(server.update({ listeners: [udp, moved] })).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    await clients[1]?.ended
    await clients[0]?.echo(peer, 'after')
    await (await join(server, 'tcp')).allocate()
  })

  it.for([
    ['limits', { limits: { maxAllocations: 0 } }, 'TURN_BAD_OPTION'],
    ['names', { listeners: [udp, udp] }, 'TURN_BAD_OPTION'],
    ['a realm', { realm: '' }, 'TURN_BAD_OPTION'],
    [
      'a certificate',
      { listeners: [udp, { ...tcp, transport: 'tls', certificate: { cert: 'x', key: 'y' } }] },
      'NET_BAD_CERTIFICATE',
    ],
  ] as const)('changes nothing for the sake of bad %s', async ([, changes, code]) => {
    const server = await start()
    const { expectAlive } = await relays(server, ['udp'])
    await expect(server.update({ ...changes, credentials: new StaticUsers([]) })).rejects.toMatchObject({
      code,
    })
    await expectAlive('after')
    expect([...server.ports.keys()]).toEqual(['udp', 'tcp'])
    await (await join(server, 'udp')).allocate()
  })

  it('keeps what earlier updates said, and counts on what was taken before', async () => {
    const server = await start()
    await (await join(server, 'udp')).allocate()
    await server.update({ limits: { maxPerUser: 1 } })
    await server.update({ redirect: () => ({ address: '127.0.0.9', port: 9 }) })
    await server.update({ mobility: false })
    await expect((await join(server, 'udp')).allocate()).rejects.toMatchObject({ code: 486 })
    await server.update({ limits: {} })
    await expect((await join(server, 'udp')).allocate()).rejects.toMatchObject({ code: 486 })
    await server.update({ limits: { maxPerUser: 2 } })
    await expect((await join(server, 'udp')).allocate()).rejects.toMatchObject({ code: 300 })
  })

  it('puts other bounds on connections in force', async () => {
    const server = await start({ limits: { maxConnectionsPerAddress: 1 } })
    await join(server, 'tcp')
    await (await join(server, 'tcp')).ended
    await server.update({ limits: { maxConnectionsPerAddress: 3 } })
    await (await join(server, 'tcp')).allocate()
  })

  it('tells others of allocations from then on', async () => {
    const told: string[] = []
    const server = await start({ events: { allocationCreated: () => told.push('first') } })
    const client = await join(server, 'udp')
    await client.allocate()
    await server.update({ events: { allocationDeleted: () => told.push('second') } })
    await client.release()
    expect(told).toEqual(['first', 'second'])
  })
})
