import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { freePort } from '../../../foundation/free-port.testkit.ts'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import type { Lifecycle } from '../../../foundation/lifecycle.ts'
import { createDatapath } from '../../../mechanisms/datapath/index.ts'
import type { VisitorConfig } from '../../../mechanisms/frp-config/index.ts'
import { privilegeKey } from '../../../protocols/frp/index.ts'
import { frpcConfig, visitorConfig } from './client-config.testkit.ts'
import { bodiesOf, type FakeServerOptions } from './fake-server.testkit.ts'
import { clientOfFake, reading, settle } from './tunnel-client.testkit.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function visiting(
  visitors: readonly VisitorConfig[],
  options: FakeServerOptions & { readonly user?: string } = {},
) {
  const datapath = own(createDatapath({ engine: 'node' }))
  await datapath.start()
  const { user = '', ...rest } = options
  const made = clientOfFake(frpcConfig({ user, visitors }), rest, {}, datapath)
  own(made.client)
  await made.client.start()
  const started = (name: string): boolean =>
    made.lines.some(({ msg, proxy }) => msg === 'start visitor success' && proxy === name)
  await eventually(() => expect(visitors.every(({ name }) => started(name))).toBe(true))
  return { ...made, started, datapath }
}

describe('a stcp visitor', () => {
  it('leads a local connection to the proxy that it names', async () => {
    const bindPort = await freePort()
    const { server, clock } = await visiting([visitorConfig('stcp', 'v', { bindPort })], { user: 'me' })
    const socket = local(bindPort)
    const connection = await visitorAt(server, 0)
    const timestamp = Math.floor(clock.wallMs() / 1000)
    expect(bodiesOf(connection, 'NewVisitorConn')).toEqual([
      {
        run_id: 'run-1',
        proxy_name: 'me.hidden',
        sign_key: privilegeKey('key', timestamp),
        timestamp,
        use_encryption: false,
        use_compression: false,
      },
    ])
    socket.write('question')
    connection.channel.send('NewVisitorConnResp', { proxy_name: 'me.hidden' })
    connection.channel.sendRaw(Buffer.from('welcome'))
    const stream = connection.channel.detach()
    const asked = reading(stream)
    await eventually(() => expect(asked.text()).toBe('question'))
    const [welcome] = (await once(socket, 'data')) as [Buffer]
    expect(welcome.toString()).toBe('welcome')
  })

  it('of a proxy of another user says whose it is', async () => {
    const bindPort = await freePort()
    const visitor = visitorConfig('stcp', 'v', { bindPort, serverUser: 'other' })
    const { server } = await visiting([visitor], { user: 'me' })
    local(bindPort)
    const connection = await visitorAt(server, 0)
    expect(bodiesOf(connection, 'NewVisitorConn')).toMatchObject([{ proxy_name: 'other.hidden' }])
  })

  it('that is refused closes the local connection and says why', async () => {
    const bindPort = await freePort()
    const { server, lines, clock } = await visiting([visitorConfig('stcp', 'v', { bindPort })])
    const socket = local(bindPort)
    const connection = await visitorAt(server, 0)
    const before = clock.pending
    connection.channel.send('NewVisitorConnResp', { error: 'visitor connection of [hidden] auth failed' })
    await closeOf(socket)
    expect(lines).toContainEqual(
      expect.objectContaining({ proxy: 'v', error: 'visitor connection of [hidden] auth failed' }),
    )
    await eventually(() => expect(connection.isClosed).toBe(true))
    expect(clock.pending).toBe(before - 1)
  })

  it('that is not answered within 10 s gives up', async () => {
    const bindPort = await freePort()
    const { server, clock } = await visiting([visitorConfig('stcp', 'v', { bindPort })])
    const socket = local(bindPort)
    await visitorAt(server, 0)
    clock.advance(10_000)
    await closeOf(socket)
  })

  it('falls back to another visitor when it is refused or not answered in time', async () => {
    const bindPort = await freePort()
    const { server, clock } = await visiting([
      visitorConfig('stcp', 'v', { bindPort, fallbackTo: 'spare', fallbackTimeoutMs: 500 }),
      visitorConfig('stcp', 'spare', { serverName: 'second' }),
    ])
    for (const isRefused of [true, false]) {
      const at = server.visitors.length
      const socket = local(bindPort)
      const first = await visitorAt(server, at)
      if (isRefused) first.channel.send('NewVisitorConnResp', { error: 'no' })
      else clock.advance(500)
      const second = await visitorAt(server, at + 1)
      expect(bodiesOf(second, 'NewVisitorConn')).toMatchObject([{ proxy_name: 'second' }])
      second.channel.send('NewVisitorConnResp', {})
      const asked = reading(second.channel.detach())
      socket.write('hello')
      await eventually(() => expect(asked.text()).toBe('hello'))
    }
  })

  it('a circle of fallbacks ends', async () => {
    const bindPort = await freePort()
    const { server } = await visiting([
      visitorConfig('stcp', 'a', { bindPort, fallbackTo: 'b' }),
      visitorConfig('stcp', 'b', { fallbackTo: 'a' }),
    ])
    const socket = local(bindPort)
    const closed = closeOf(socket)
    for (let i = 0; i < 8; i++)
      (await visitorAt(server, i)).channel.send('NewVisitorConnResp', { error: 'no' })
    await closed
    expect(server.visitors).toHaveLength(8)
  })

  it('whose port is taken is tried again after 10 s', async () => {
    const holder = createServer()
    holder.listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const { port } = holder.address() as AddressInfo
    const made = clientOfFake(frpcConfig({ visitors: [visitorConfig('stcp', 'v', { bindPort: port })] }))
    own(made.client)
    await made.client.start()
    await eventually(() =>
      expect(made.lines).toContainEqual(expect.objectContaining({ msg: 'start error', proxy: 'v' })),
    )
    await new Promise((resolve) => holder.close(resolve))
    made.clock.advance(10_000)
    await eventually(() => expect(made.lines.some(({ msg }) => msg === 'start visitor success')).toBe(true))
  })

  it('keeps its port while the server is away, and closes what comes then', async () => {
    const bindPort = await freePort()
    const { client, server, clock } = await visiting([visitorConfig('stcp', 'v', { bindPort })])
    server.control.channel.destroy()
    await eventually(() => expect(client.isLoggedIn).toBe(false))
    await closeOf(local(bindPort))
    clock.advance(200)
    await eventually(() => expect(client.isLoggedIn).toBe(true))
    local(bindPort)
    await visitorAt(server, 0)
  })

  it('a reload closes those that are gone and leaves the others with their connections', async () => {
    const [kept, gone] = [await freePort(), await freePort()]
    const visitors = [
      visitorConfig('stcp', 'kept', { bindPort: kept }),
      visitorConfig('stcp', 'gone', { bindPort: gone }),
    ] as const
    const { client, server } = await visiting(visitors)
    const sockets = [local(kept), local(gone)] as const
    for (const at of [0, 1]) (await visitorAt(server, at)).channel.send('NewVisitorConnResp', {})
    const asked = server.visitors.map(({ channel }) => reading(channel.detach()))
    client.update({ proxies: [], visitors: [structuredClone(visitors[0])] })
    await eventually(() => expect(refused(gone)).resolves.toBe(true))
    sockets[0].write('a')
    sockets[1].write('b')
    await eventually(() => expect(asked.map((one) => one.text()).toSorted()).toEqual(['a', 'b']))
    local(kept)
    await visitorAt(server, 2)
  })

  it('a reload may give the port of one visitor to another at once', async () => {
    const bindPort = await freePort()
    const { client, server, started } = await visiting([visitorConfig('stcp', 'old', { bindPort })])
    client.update({
      proxies: [],
      visitors: [visitorConfig('stcp', 'new', { bindPort, serverName: 'other' })],
    })
    await eventually(() => expect(started('new')).toBe(true))
    local(bindPort)
    expect(bodiesOf(await visitorAt(server, 0), 'NewVisitorConn')).toMatchObject([{ proxy_name: 'other' }])
  })

  it('a close of the client ends what is being opened and what is joined', async () => {
    const bindPort = await freePort()
    const { client, server, clock } = await visiting([visitorConfig('stcp', 'v', { bindPort })], {
      isMux: false,
    })
    const joined = local(bindPort)
    const first = await visitorAt(server, 0)
    first.channel.send('NewVisitorConnResp', {})
    first.channel.sendRaw(Buffer.from('x'))
    await once(joined, 'data')
    const opening = local(bindPort)
    await visitorAt(server, 1)
    const closed = [closeOf(joined), closeOf(opening)]
    first.channel.detach().destroy()
    await client.close()
    await Promise.all(closed)
    expect(clock.pending).toBe(0)
    expect(await refused(bindPort)).toBe(true)
  })
})

describe('a sudp visitor', () => {
  const name = 'v'

  it.each(['json', 'binary-v1'] as const)(
    'carries datagrams in form %s to the proxy and answers to their senders',
    async (udpPacketCodec) => {
      const bindPort = await freePort()
      const visitor = visitorConfig('sudp', name, { bindPort })
      const made = await visitingWire('v2', [visitor], { udpPacketCodec })
      const users = [await udpUser(bindPort), await udpUser(bindPort)] as const
      users[0].socket.send('one')
      const connection = await visitorAt(made.server, 0)
      users[1].socket.send('two')
      connection.channel.send('NewVisitorConnResp', {})
      await eventually(() => expect(bodiesOf(connection, 'UDPPacket')).toHaveLength(2))
      for (const { content, remote } of bodiesOf(connection, 'UDPPacket')) {
        connection.channel.sendDatagram({
          content: Buffer.from(`re ${Buffer.from(content).toString()}`),
          remote,
        })
      }
      await eventually(() => expect(users.map(({ heard }) => heard)).toEqual([['re one'], ['re two']]))
      expect(made.server.visitors).toHaveLength(1)
    },
  )

  it('sends nothing to who has sent nothing', async () => {
    const bindPort = await freePort()
    const { server } = await visiting([visitorConfig('sudp', name, { bindPort })])
    const [user, other] = [await udpUser(bindPort), await udpUser(bindPort)]
    user.socket.send('one')
    const { channel } = await visitorAt(server, 0)
    channel.send('NewVisitorConnResp', {})
    const to = (port: number) => ({ IP: '127.0.0.1', Port: port, Zone: '' })
    channel.sendDatagram({ content: Buffer.from('not asked for'), remote: to(other.socket.address().port) })
    channel.sendDatagram({ content: Buffer.from('asked for'), remote: to(user.socket.address().port) })
    await eventually(() => expect(user.heard).toEqual(['asked for']))
    expect(other.heard).toEqual([])
  })

  it('gives up a connection that is silent for 60 s, and opens another with the next datagram', async () => {
    const bindPort = await freePort()
    const { server, clock } = await visiting([visitorConfig('sudp', name, { bindPort })])
    const user = await udpUser(bindPort)
    user.socket.send('one')
    const connection = await visitorAt(server, 0)
    connection.channel.send('NewVisitorConnResp', {})
    await eventually(() => expect(bodiesOf(connection, 'UDPPacket')).toHaveLength(1))
    clock.advance(50_000)
    connection.channel.send('Ping', {})
    await settle()
    clock.advance(59_999)
    await settle()
    expect(connection.isClosed).toBe(false)
    clock.advance(1)
    await eventually(() => expect(connection.isClosed).toBe(true))
    clock.advance(1000)
    user.socket.send('two')
    await visitorAt(server, 1)
  })

  it('that is refused tries again a second later at the earliest', async () => {
    const bindPort = await freePort()
    const { server, clock, datapath } = await visiting([visitorConfig('sudp', name, { bindPort })])
    const user = await udpUser(bindPort)
    user.socket.send('one')
    const first = await visitorAt(server, 0)
    first.channel.send('NewVisitorConnResp', { error: 'no' })
    await eventually(() => expect(first.isClosed).toBe(true))
    user.socket.send('two')
    await eventually(() => expect(datapath.totals().delivered.packets).toBe(2))
    await settle()
    expect(server.visitors).toHaveLength(1)
    clock.advance(1000)
    user.socket.send('three')
    const second = await visitorAt(server, 1)
    second.channel.send('NewVisitorConnResp', {})
    await eventually(() =>
      expect(bodiesOf(second, 'UDPPacket').map(({ content }) => Buffer.from(content).toString())).toEqual([
        'three',
      ]),
    )
  })
})

function own<T extends Lifecycle>(component: T): T {
  closers.push(() => component.close())
  return component
}

async function visitingWire(
  wireProtocol: 'v1' | 'v2',
  visitors: readonly VisitorConfig[],
  options: FakeServerOptions,
) {
  const datapath = own(createDatapath({ engine: 'node' }))
  await datapath.start()
  const made = clientOfFake(frpcConfig({ visitors, wire: { wireProtocol } }), options, {}, datapath)
  own(made.client)
  await made.client.start()
  await eventually(() => expect(made.lines.some(({ msg }) => msg === 'start visitor success')).toBe(true))
  return made
}

async function visitorAt(server: Awaited<ReturnType<typeof visiting>>['server'], at: number) {
  await eventually(() => expect(server.visitors.length).toBeGreaterThan(at))
  const connection = server.visitors[at]
  if (connection === undefined) throw new Error('no visitor')
  return connection
}

function local(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  closers.push(() => socket.destroy())
  return socket
}

/** Once it has closed, by a reset too. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

async function refused(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const isRefused = await new Promise<boolean>((resolve) => {
    socket.on('error', () => resolve(true))
    socket.on('connect', () => resolve(false))
  })
  socket.destroy()
  return isRefused
}

async function udpUser(port: number) {
  const socket = createSocket('udp4')
  const heard: string[] = []
  socket.on('message', (bytes) => void heard.push(bytes.toString()))
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  closers.push(() => socket.close())
  return { socket, heard }
}
