import { once } from 'node:events'
import { connect as dial, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import {
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  type TransportAddress,
} from '../../../protocols/stun/index.ts'
import { encodeRequestedTransport } from '../../../protocols/turn/index.ts'
import type { CredentialSource } from '../credentials/contract.ts'
import { StaticUsers } from '../credentials/static-users.ts'
import type { TurnLimits } from '../options.ts'
import { admitAll } from '../peers/fixed-policies.ts'
import type { PeerPolicy } from '../peers/contract.ts'
import { closeOf, TcpTestClient, TcpTestPeer } from '../tcp-test-client.testkit.ts'
import { TurnServer } from '../turn-server.ts'
import { FakeDatapath } from './fake-datapath.testkit.ts'
import type { Answer, Build } from './test-client.testkit.ts'

const tcp: Build = (writer) => writer.attribute(StunAttribute.requestedTransport, encodeRequestedTransport(6))

interface Options {
  readonly limits?: Partial<TurnLimits>
  readonly peers?: PeerPolicy
  readonly credentials?: CredentialSource
}

const users = new StaticUsers([
  { username: 'alice', password: 'wonderland' },
  { username: 'bob', password: 'builder' },
])

interface Running {
  readonly server: TurnServer
  readonly clock: ManualClock
  readonly port: number
}

async function running({
  limits = {},
  peers = admitAll,
  credentials = users,
}: Options = {}): Promise<Running> {
  const clock = new ManualClock()
  const server = new TurnServer({
    listeners: [
      {
        name: 'tcp',
        transport: 'tcp',
        listen: { host: '127.0.0.1', port: 0 },
        relays: [{ address: '127.0.0.1' }],
        peers,
      },
    ],
    credentials,
    limits,
    clock,
    datapath: new FakeDatapath({ clock }),
  })
  await server.start()
  onTestFinished(async () => {
    await server.close()
    expect(server.allocationCount).toBe(0)
  })
  return { server, clock, port: server.ports.get('tcp') ?? 0 }
}

async function allocated(port: number): Promise<{ client: TcpTestClient; relayed: TransportAddress }> {
  const client = await TcpTestClient.connect(port)
  return { client, relayed: await client.allocate(tcp) }
}

function connect(client: TcpTestClient, peer: TransportAddress): Promise<Answer> {
  return client.request(StunMethod.connect, (writer) => writer.xorAddress(StunAttribute.xorPeerAddress, peer))
}

function idOf({ message }: Pick<Answer, 'message'>): number {
  return message.u32(StunAttribute.connectionId) ?? 0
}

function bind(client: TcpTestClient, id: number): Promise<Answer> {
  return client.request(StunMethod.connectionBind, (writer) => writer.u32(StunAttribute.connectionId, id))
}

/** A peer that calls a relayed address. */
async function calling(relayed: TransportAddress): Promise<Socket> {
  const socket = dial({ host: relayed.address, port: relayed.port })
  socket.on('error', () => undefined)
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

function messageOf(bytes: Buffer | undefined): StunMessage {
  const message = StunMessage.decode(bytes ?? Buffer.alloc(0))
  if (typeof message === 'string') throw new TypeError(message)
  return message
}

describe('Connect', () => {
  it('dials the peer, and ConnectionBind on another connection gets it: bytes both ways, whole', async () => {
    const { port } = await running()
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const connected = await connect(client, peer)
    expect([connected.code, connected.signed]).toEqual([undefined, 'sha1'])
    const far = await peer.accepted()
    far.write('early ')
    const data = await TcpTestClient.connect(port)
    expect((await bind(data, idOf(connected))).code).toBeUndefined()
    data.put(Buffer.from('to the peer'))
    await peer.heard('to the peer')
    far.write('and back')
    await data.joined('early and back')
    expect([peer.text, data.raw]).toEqual(['to the peer', 'early and back'])
    expect((await client.refresh(600)).code).toBeUndefined()
  })

  it('hands over what the client has sent behind its ConnectionBind', async () => {
    const { port } = await running()
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const id = idOf(await connect(client, peer))
    const data = await TcpTestClient.connect(port)
    await data.challenge()
    const request = data.signed(StunMethod.connectionBind, (writer) =>
      writer.u32(StunAttribute.connectionId, id),
    )
    data.put(Buffer.concat([request, Buffer.from('at once')]))
    await peer.heard('at once')
    expect(peer.text).toBe('at once')
  })

  it('hands that over too where credentials are asked for elsewhere', async () => {
    const { port } = await running({ credentials: { find: (claim) => Promise.resolve(users.find(claim)) } })
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const id = idOf(await connect(client, peer))
    const data = await TcpTestClient.connect(port)
    await data.challenge()
    const request = data.signed(StunMethod.connectionBind, (writer) =>
      writer.u32(StunAttribute.connectionId, id),
    )
    data.put(Buffer.concat([request, Buffer.from('\xff not a frame', 'latin1')]))
    await peer.heard('\xff not a frame')
    expect(peer.text).toBe('\xff not a frame')
  })

  it('on an allocation for UDP gets 437, without a peer 400, for another family 443', async () => {
    const { port } = await running()
    const udp = await TcpTestClient.connect(port)
    await udp.allocate()
    expect((await connect(udp, { address: '127.0.0.1', port: 9 })).code).toBe(437)
    const { client } = await allocated(port)
    expect((await client.request(StunMethod.connect)).code).toBe(400)
    expect((await connect(client, { address: '2001:db8::1', port: 9 })).code).toBe(443)
    const none = await TcpTestClient.connect(port)
    expect((await connect(none, { address: '127.0.0.1', port: 9 })).code).toBe(437)
  })

  it('to a peer that rules forbid, or a listener of ours, gets 403', async () => {
    const peers: PeerPolicy = { ...admitAll, admits: (_address, port) => port !== 80 }
    const { port } = await running({ peers })
    const { client } = await allocated(port)
    expect((await connect(client, { address: '127.0.0.1', port: 80 })).code).toBe(403)
    expect((await connect(client, { address: '127.0.0.1', port })).code).toBe(403)
  })

  it('again to the same peer gets 446, while others go on', async () => {
    const { port } = await running()
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const other = await allocated(port)
    expect((await connect(client, peer)).code).toBeUndefined()
    for (let i = 0; i < 20; i++) expect((await connect(client, peer)).code).toBe(446)
    expect((await other.client.refresh(600)).code).toBeUndefined()
    expect((await connect(other.client, peer)).code).toBeUndefined()
  })

  it('to a port where nobody listens gets 447, and may be tried again', async () => {
    const { port } = await running()
    const peer = await TcpTestPeer.listen()
    const place = { address: peer.address, port: peer.port }
    peer.close()
    const { client } = await allocated(port)
    expect((await connect(client, place)).code).toBe(447)
    expect((await connect(client, place)).code).toBe(447)
  })

  it('gets 508 over the most of an allocation, and when new peers come too fast', async () => {
    const { port } = await running({ limits: { maxPeerConnections: 1 } })
    const [one, two] = [await TcpTestPeer.listen(), await TcpTestPeer.listen()]
    const { client } = await allocated(port)
    expect((await connect(client, one)).code).toBeUndefined()
    expect((await connect(client, two)).code).toBe(508)
    const slow = await running({ limits: { newPeersPerSecond: 0.1 } })
    const scanner = await allocated(slow.port)
    expect((await connect(scanner.client, one)).code).toBeUndefined()
    expect((await connect(scanner.client, two)).code).toBeUndefined()
    expect((await connect(scanner.client, { address: '127.0.0.1', port: 9 })).code).toBe(508)
  })
})

describe('ConnectionBind', () => {
  it('with an id that nobody has, or none, gets 400', async () => {
    const { port } = await running()
    const data = await TcpTestClient.connect(port)
    expect((await bind(data, 12_345)).code).toBe(400)
    expect((await data.request(StunMethod.connectionBind)).code).toBe(400)
  })

  it('by another user gets 400, and a second time too', async () => {
    const { port } = await running()
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const id = idOf(await connect(client, peer))
    expect((await bind(await TcpTestClient.connect(port, 'bob'), id)).code).toBe(400)
    expect((await bind(await TcpTestClient.connect(port), id)).code).toBeUndefined()
    expect((await bind(await TcpTestClient.connect(port), id)).code).toBe(400)
  })

  it('by another who has a token gets 400, though any token refreshes an allocation', async () => {
    const { port } = await running({
      credentials: {
        find: (claim) =>
          users.find(claim).map((found) => ({
            username: found.username,
            userId: found.userId,
            key: (algorithm) => found.key(algorithm),
            isToken: true,
          })),
      },
    })
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const id = idOf(await connect(client, peer))
    expect((await bind(await TcpTestClient.connect(port, 'bob'), id)).code).toBe(400)
    expect((await bind(await TcpTestClient.connect(port), id)).code).toBeUndefined()
    client.user = 'bob'
    expect((await client.refresh(600)).code).toBeUndefined()
  })

  it('on a connection that has an allocation gets 400', async () => {
    const { port } = await running()
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    expect((await bind(client, idOf(await connect(client, peer)))).code).toBe(400)
  })

  it('that does not come within 30 seconds loses the peer', async () => {
    const { port, clock } = await running()
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const id = idOf(await connect(client, peer))
    const far = await peer.accepted()
    const closed = closeOf(far)
    clock.advance(29_000)
    expect(far.destroyed).toBe(false)
    clock.advance(1001)
    await closed
    expect((await bind(await TcpTestClient.connect(port), id)).code).toBe(400)
    expect((await connect(client, peer)).code).toBeUndefined()
  })
})

describe('a peer that calls', () => {
  it('is announced to who has permitted it', async () => {
    const { port } = await running()
    const { client, relayed } = await allocated(port)
    await client.permit('127.0.0.1')
    const count = client.inbox.length
    const far = await calling(relayed)
    await client.received(count + 1)
    const attempt = messageOf(client.inbox.at(-1))
    expect([attempt.method, attempt.class]).toEqual([StunMethod.connectionAttempt, StunClass.indication])
    const data = await TcpTestClient.connect(port)
    expect((await bind(data, idOf({ message: attempt }))).code).toBeUndefined()
    far.write('hello')
    await data.joined('hello')
    expect(data.raw).toBe('hello')
  })

  it('is cut when it has no permission', async () => {
    const { port } = await running()
    const { client, relayed } = await allocated(port)
    const count = client.inbox.length
    const far = await calling(relayed)
    await closeOf(far)
    expect(client.inbox).toHaveLength(count)
  })
})

describe('the end', () => {
  it('of the control connection ends the allocation, its connections and its port', async () => {
    const { server, port } = await running()
    const peer = await TcpTestPeer.listen()
    const { client, relayed } = await allocated(port)
    const id = idOf(await connect(client, peer))
    const data = await TcpTestClient.connect(port)
    await bind(data, id)
    const far = await peer.accepted()
    const closed = closeOf(far)
    client.socket.destroy()
    await Promise.all([data.closed(), closed])
    expect(server.allocationCount).toBe(0)
    const late = dial({ host: relayed.address, port: relayed.port })
    const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNREFUSED')
  })

  it('of the peer ends the client’s connection, and the other way round', async () => {
    const { server, port } = await running()
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const data = await TcpTestClient.connect(port)
    await bind(data, idOf(await connect(client, peer)))
    const far = await peer.accepted()
    far.destroy()
    data.socket.end()
    await data.closed()
    expect(server.allocationCount).toBe(1)
    expect((await connect(client, peer)).code).toBeUndefined()
  })

  it('of an allocation whose bytes wait for a limit stops the waiting', async () => {
    const { server, clock, port } = await running({ limits: { bytesPerSecond: 65_536 } })
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const data = await TcpTestClient.connect(port)
    await bind(data, idOf(await connect(client, peer)))
    const far = await peer.accepted()
    data.put(Buffer.alloc(300_000))
    await peer.heard('x'.repeat(65_536))
    expect(peer.text.length).toBe(65_536)
    const closed = closeOf(far)
    const [id = ''] = server.listAllocations().map((one) => one.id)
    server.killAllocation(id)
    await Promise.all([closed, data.closed()])
    // Whoever still waited would ask a meter that has gone.
    clock.advance(1000)
  })

  it('of what a peer says is passed on, however long it has to wait for a limit', async () => {
    const { clock, port } = await running({ limits: { bytesPerSecond: 65_536 } })
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const data = await TcpTestClient.connect(port)
    await bind(data, idOf(await connect(client, peer)))
    const far = await peer.accepted()
    data.socket.end()
    far.end(Buffer.alloc(200_000))
    await closeOf(far)
    for (let turns = 0; data.raw.length < 200_000 && turns < 2000; turns++) {
      clock.advance(50)
      await setImmediate()
    }
    expect(data.raw.length).toBe(200_000)
  })

  it('is as the limit allows', async () => {
    const { clock, port } = await running({ limits: { bytesPerSecond: 65_536 } })
    const peer = await TcpTestPeer.listen()
    const { client } = await allocated(port)
    const data = await TcpTestClient.connect(port)
    await bind(data, idOf(await connect(client, peer)))
    data.put(Buffer.alloc(100_000))
    await peer.heard('x'.repeat(65_536))
    clock.advance(1000)
    await peer.heard('x'.repeat(100_000))
    expect(peer.text.length).toBe(100_000)
  })
})
