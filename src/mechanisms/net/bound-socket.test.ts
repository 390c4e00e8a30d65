import { once } from 'node:events'
import { closeSync, readlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createDatapath } from '../datapath/index.ts'
import { connectFromDescriptor, type DescriptorPeer, listenOnDescriptor } from './bound-socket.ts'
import { readToEnd } from './sockets.testkit.ts'

const datapath = createDatapath({ engine: 'native' })
const closing: (() => unknown)[] = []

beforeAll(async () => {
  await datapath.start()
})

afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

afterAll(async () => {
  await datapath.close()
})

describe.each(['127.0.0.1', '::1'])('sockets that share a port of %s', (address) => {
  it('listen and connect at the same time, to several peers', async () => {
    const { server, port } = await listening(address)
    const greeter = createServer((socket) =>
      socket.end(`you are ${socket.remoteAddress} ${socket.remotePort}`),
    )
    const echo = createServer((socket) => socket.pipe(socket))
    const [greeting, echoing] = [await listenAnywhere(greeter, address), await listenAnywhere(echo, address)]

    const toEcho = dial(datapath.bindTcp(address, port), { host: address, port: echoing })
    const toGreeter = dial(datapath.bindTcp(address, port), { host: address, port: greeting })
    // Written before it is connected.
    toEcho.end(Buffer.alloc(1_000_000, 'abc'))
    await once(toEcho, 'connect')
    expect([toEcho.localAddress, toEcho.localPort]).toEqual([address, port])
    expect((await readToEnd(toGreeter)).toString()).toBe(`you are ${address} ${port}`)
    expect((await readToEnd(toEcho)).equals(Buffer.alloc(1_000_000, 'abc'))).toBe(true)

    const accepting = once(server, 'connection')
    const peer = connect(port, address)
    closing.push(() => peer.destroy())
    const [accepted] = (await accepting) as [Socket]
    accepted.end('welcome')
    expect((await readToEnd(peer)).toString()).toBe('welcome')
  })

  it('tell of a peer that refuses by an error, and are closed', async () => {
    const gone = await goneAddress(address)
    const { fd, isOpen } = bind(address)
    const socket = connectFromDescriptor(fd, gone)
    const events: string[] = []
    for (const name of ['connect', 'ready', 'end', 'close']) socket.on(name, () => events.push(name))
    const [error] = (await once(socket, 'error')) as [unknown]
    expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', address, port: gone.port })
    await once(socket, 'close')
    expect(events).toEqual(['close'])
    expect(isOpen()).toBe(false)
  })
})

it('tells of a peer that cannot be reached by an error', async () => {
  const { fd, isOpen } = bind('127.0.0.1')
  // From a loopback address there is no way to the outside.
  const socket = connectFromDescriptor(fd, { host: '203.0.113.9', port: 9 })
  const [error] = (await once(socket, 'error')) as [unknown]
  expect(error).toMatchObject({ syscall: 'connect', address: '203.0.113.9' })
  await once(socket, 'close')
  expect(isOpen()).toBe(false)
})

it('rejects when it cannot listen for another reason', async () => {
  const { fd } = bind('127.0.0.1')
  closeSync(fd)
  await expect(listenOnDescriptor(createServer(), fd)).rejects.toMatchObject({ code: 'NET_LISTEN_FAILED' })
})

it('stays open for writing when the peer has ended its side, if asked', async () => {
  const received: Promise<Buffer>[] = []
  const far = createServer({ allowHalfOpen: true }, (socket) => {
    socket.end('done')
    received.push(readToEnd(socket))
  })
  const peer = { host: '127.0.0.1', port: await listenAnywhere(far, '127.0.0.1') }
  const socket = connectFromDescriptor(datapath.bindTcp('127.0.0.1', 0), peer, {
    allowHalfOpen: true,
    noDelay: true,
  })
  closing.unshift(() => socket.destroy())
  expect((await readToEnd(socket)).toString()).toBe('done')
  socket.end('not I')
  expect((await received[0])?.toString()).toBe('not I')
})

it('connects to a peer once only', async () => {
  const { port } = await listening('127.0.0.1')
  const echo = await listenAnywhere(createServer(), '127.0.0.1')
  const peer = { host: '127.0.0.1', port: echo }
  const first = dial(datapath.bindTcp('127.0.0.1', port), peer)
  await once(first, 'connect')
  const second = dial(datapath.bindTcp('127.0.0.1', port), peer)
  const [error] = (await once(second, 'error')) as [unknown]
  expect(error).toMatchObject({ code: 'EADDRNOTAVAIL' })
  expect(first.readyState).toBe('open')
})

it.each([
  ['a name', { host: 'localhost', port: 9 }, TypeError],
  ['a port that cannot be', { host: '127.0.0.1', port: 65_536 }, RangeError],
])('throws for %s, and closes the descriptor', async (_, peer, kind) => {
  const { fd, isOpen } = bind('127.0.0.1')
  expect(() => connectFromDescriptor(fd, peer)).toThrow(kind)
  await expect.poll(isOpen).toBe(false)
})

it('closes what is destroyed before it is connected', async () => {
  const { fd, isOpen } = bind('127.0.0.1')
  const socket = connectFromDescriptor(fd, await goneAddress('127.0.0.1'))
  socket.destroy()
  await once(socket, 'close')
  expect(isOpen()).toBe(false)
})

it('closes what is neither to listen nor to connect', () => {
  const { fd, isOpen } = bind('127.0.0.1')
  expect(isOpen()).toBe(true)
  closeSync(fd)
  expect(isOpen()).toBe(false)
})

it('closes a listener with its server', async () => {
  const { fd, isOpen } = bind('127.0.0.1')
  const server = createServer()
  await listenOnDescriptor(server, fd)
  expect(isOpen()).toBe(true)
  await closeServer(server)
  expect(isOpen()).toBe(false)
})

it('rejects when somebody else listens there by now, and closes the descriptor', async () => {
  const { port } = await goneAddress('127.0.0.1')
  const { fd, isOpen } = bind('127.0.0.1', port)
  const other = createServer().listen(port, '127.0.0.1')
  await once(other, 'listening')
  closing.push(() => closeServer(other))
  const server = createServer()
  await expect(listenOnDescriptor(server, fd)).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
  await expect.poll(isOpen).toBe(false)
})

/** A descriptor, and whether it is still open. */
function bind(address: string, port = 0): { readonly fd: number; readonly isOpen: () => boolean } {
  const fd = datapath.bindTcp(address, port)
  const socket = linkOf(fd)
  expect(socket).toMatch(/^socket:/)
  return { fd, isOpen: () => linkOf(fd) === socket }
}

function linkOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return undefined
  }
}

/** A server on a descriptor. */
async function listening(address: string): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer()
  await listenOnDescriptor(server, datapath.bindTcp(address, 0))
  closing.push(() => closeServer(server))
  return { server, port: portOf(server) }
}

/** Has an ordinary server listen. */
async function listenAnywhere(server: Server, address: string): Promise<number> {
  server.listen(0, address)
  await once(server, 'listening')
  closing.push(() => closeServer(server))
  return portOf(server)
}

/** A socket that is gone after the test. */
function dial(fd: number, peer: DescriptorPeer): Socket {
  const socket = connectFromDescriptor(fd, peer)
  closing.unshift(() => socket.destroy())
  return socket
}

/** Where nobody listens any more. */
async function goneAddress(address: string): Promise<DescriptorPeer> {
  const server = createServer().listen(0, address)
  await once(server, 'listening')
  const port = portOf(server)
  await closeServer(server)
  return { host: address, port }
}

async function closeServer(server: Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve))
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
