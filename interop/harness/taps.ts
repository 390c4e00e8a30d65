import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { decodeHandshake, rejectReasonOf } from '../../src/protocols/srt/index.ts'

/** More of what was said is not kept. */
const KEPT_BYTES = 64 * 1024

/** What a client is told in the protocol, which its program shows in words of its own. */
export interface Tap extends AsyncDisposable {
  readonly port: number
  /** What was said first: the code of an RTMP status, the reason of an SRT rejection. */
  readonly said: string
}

/** Stands before the RTMP port of a gateway and listens in for the code of its first status. */
export async function tapRtmp(toPort: number): Promise<Tap> {
  let heard = Buffer.alloc(0)
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const gateway = connect(toPort, '127.0.0.1')
    gateway.on('data', (bytes) => {
      if (heard.length < KEPT_BYTES) heard = Buffer.concat([heard, bytes])
    })
    client.pipe(gateway).pipe(client)
    for (const socket of [client, gateway]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        gateway.destroy()
        sockets.delete(socket)
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get said() {
      return /NetStream\.(?:Play|Publish)\.[A-Z][A-Za-z]+/.exec(heard.toString('latin1'))?.[0] ?? ''
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Stands before the SRT port of a gateway, for one caller, and listens in for a rejection; `said` is its reason. */
export async function tapSrt(toPort: number): Promise<Tap> {
  const [front, back] = [await openUdp(), await openUdp()]
  let callerPort = 0
  let said = ''
  front.on('message', (bytes, { port }) => {
    callerPort = port
    back.send(bytes, toPort, '127.0.0.1')
  })
  back.on('message', (bytes) => {
    const handshake = decodeHandshake(bytes)
    if (typeof handshake !== 'string') said ||= String(rejectReasonOf(handshake) ?? '')
    front.send(bytes, callerPort, '127.0.0.1')
  })
  return {
    port: front.address().port,
    get said() {
      return said
    },
    [Symbol.asyncDispose]: async () => {
      const closed = Promise.all([once(front, 'close'), once(back, 'close')])
      front.close()
      back.close()
      await closed
    },
  }
}

async function openUdp(): Promise<UdpSocket> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}
