import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'

/** Both ends of a TCP connection over loopback, in ordinary stream mode, and the server that accepted it. */
export interface Connection extends AsyncDisposable {
  readonly dialled: Socket
  readonly accepted: Socket
  readonly server: Server
}

/** A connection over loopback; disposing destroys both ends and closes the server. */
export async function openConnection(): Promise<Connection> {
  const server = createServer({ allowHalfOpen: true, noDelay: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const accepting = once(server, 'connection')
  const dialled = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  dialled.on('error', () => undefined)
  await once(dialled, 'connect')
  const [accepted]: Socket[] = await accepting
  if (accepted === undefined) throw new Error('nothing accepted')
  accepted.on('error', () => undefined)
  return {
    dialled,
    accepted,
    server,
    async [Symbol.asyncDispose]() {
      dialled.destroy()
      accepted.destroy()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** All that a socket receives until its end. */
export async function readToEnd(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = []
  socket.on('data', (bytes: Buffer) => parts.push(bytes))
  socket.resume()
  await once(socket, 'end')
  return Buffer.concat(parts)
}

/** Writes pieces one after the other, each when the one before has been taken, then ends. */
export async function writeAll(socket: Socket, pieces: Iterable<Uint8Array>): Promise<void> {
  for (const piece of pieces) {
    if (!socket.write(piece)) await once(socket, 'drain')
  }
  socket.end()
}
