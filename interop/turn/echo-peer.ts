import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** A peer that sends everything back to where it came from. */
export interface EchoPeer extends AsyncDisposable {
  readonly address: string
  /** Of UDP also the port after it echoes, as RTCP has it beside RTP. */
  readonly port: number
  /** What it has echoed so far. */
  readonly echoed: { readonly packets: number; readonly bytes: number }
}

/** Opens one for UDP. */
export async function openUdpEcho(address: '127.0.0.1' | '::1' = '127.0.0.1'): Promise<EchoPeer> {
  const echoed = { packets: 0, bytes: 0 }
  const sockets = await bindPair(address)
  for (const socket of sockets) {
    // A busy test process reads late.
    socket.setRecvBufferSize(4 * 1024 * 1024)
    socket.on('message', (bytes, { address, port }) => {
      echoed.packets++
      echoed.bytes += bytes.length
      socket.send(bytes, port, address)
    })
  }
  return {
    address,
    port: sockets[0].address().port,
    echoed,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(sockets.map(closeSocket))
    },
  }
}

/** Opens one for TCP. It ends a connection when the other side has. */
export async function openTcpEcho(address: '127.0.0.1' | '::1' = '127.0.0.1'): Promise<EchoPeer> {
  const echoed = { packets: 0, bytes: 0 }
  const server = createServer((socket) => {
    socket.on('data', (bytes) => {
      echoed.packets++
      echoed.bytes += bytes.length
    })
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  server.listen(0, address)
  await once(server, 'listening')
  const bound = server.address()
  return {
    address,
    port: bound !== null && typeof bound === 'object' ? bound.port : 0,
    echoed,
    [Symbol.asyncDispose]: async () => {
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** Two sockets whose ports follow each other; the second is somebody else's now and then. */
async function bindPair(address: string): Promise<readonly [Socket, Socket]> {
  for (let attempt = 0; ; attempt++) {
    const first = await bind(address, 0)
    try {
      return [first, await bind(address, first.address().port + 1)]
    } catch (error) {
      await closeSocket(first)
      if (attempt === 20) throw error
    }
  }
}

async function bind(address: string, port: number): Promise<Socket> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4').bind(port, address)
  await once(socket, 'listening')
  return socket
}

async function closeSocket(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => socket.close(() => resolve()))
}
