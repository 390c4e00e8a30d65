import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { askHttp, connectThrough } from './probes.ts'
import type { Action } from './recording.ts'

/** Where the user of a recording finds what it asks for. */
export type UserPorts = Readonly<Record<Exclude<Action, 'close'>, () => number>>

/** Datagrams come from where they came from when they were recorded: the answers name it. */
const datagramAddress = { address: '127.70.0.1', port: 17_070 }
const deadlineMs = 10_000

/** Does what the user of a recording did. @throws Error unless it is answered as then */
export async function act(action: Exclude<Action, 'close'>, ports: UserPorts): Promise<void> {
  const port = ports[action]()
  switch (action) {
    case 'tcp':
    case 'layers':
    case 'stcp':
      await echo(connect(port, '127.0.0.1'), Buffer.from(`hello ${action}`))
      return
    case 'connect':
      await echo(await connectThrough(port, 'mux.test:80'), Buffer.from('hello tcpmux'))
      return
    case 'https':
      await echo(connect(port, '127.0.0.1'), clientHelloFor('secure.test'))
      return
    case 'http': {
      const { status, seen } = await askHttp(port, 'web.test', { path: '/recorded' })
      if (status !== 200 || seen.url !== '/recorded') throw new Error(`answered ${status}`)
      return
    }
    case 'udp':
    case 'sudp':
      await echoDatagram(port, Buffer.from(`hello ${action}`))
      return
  }
}

async function echo(socket: Socket, sent: Buffer): Promise<void> {
  const signal = AbortSignal.timeout(deadlineMs)
  let received = Buffer.alloc(0)
  socket.resume()
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes])
    if (received.length >= sent.length) socket.end()
  })
  socket.write(sent)
  await once(socket, 'close', { signal })
  if (!received.equals(sent)) throw new Error(`${received.toString()} came back for ${sent.toString()}`)
}

async function echoDatagram(port: number, sent: Buffer): Promise<void> {
  const socket = createSocket('udp4')
  try {
    socket.bind(datagramAddress.port, datagramAddress.address)
    await once(socket, 'listening')
    socket.send(sent, port, '127.0.0.1')
    const [received] = (await once(socket, 'message', { signal: AbortSignal.timeout(deadlineMs) })) as [
      Buffer,
    ]
    if (!received.equals(sent)) throw new Error(`${received.toString()} came back`)
  } finally {
    socket.close()
  }
}

/** The smallest ClientHello that names a host, the same each time. */
function clientHelloFor(host: string): Buffer {
  const name = Buffer.from(host)
  const serverName = block(2, Buffer.concat([Buffer.from([0]), block(2, name)]))
  const extension = Buffer.concat([Buffer.from([0, 0]), block(2, serverName)])
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    block(1, Buffer.alloc(0)),
    block(2, Buffer.from([0x13, 0x01])),
    block(1, Buffer.from([0])),
    block(2, extension),
  ])
  const handshake = Buffer.concat([Buffer.from([1]), block(3, body)])
  return Buffer.concat([Buffer.from([22, 3, 1]), block(2, handshake)])
}

function block(lengthBytes: number, content: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes)
  length.writeUIntBE(content.length, 0, lengthBytes)
  return Buffer.concat([length, content])
}
