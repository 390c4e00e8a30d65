/** Plain UDP sockets as a process of its own, so that they can live in a network namespace. Does what it is called for. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Remote } from '../../src/mechanisms/datapath/index.ts'
import { answerCalls } from './namespaces.ts'

/** A datagram that came; its bytes are base64, as all are. */
interface Received extends Remote {
  readonly bytes: string
}

const sockets = new Map<number, { readonly socket: Socket; readonly received: Received[] }>()

function socketOf(port: number): Socket {
  const opened = sockets.get(port)
  if (opened === undefined) throw new Error(`no socket on port ${port}`)
  return opened.socket
}

const calls = {
  /** Gives the port, which names the socket here. */
  async open(address: string): Promise<number> {
    const type = address.includes(':') ? 'udp6' : 'udp4'
    const socket = createSocket({ type, recvBufferSize: 4 * 1024 * 1024 })
    socket.bind(0, address)
    await once(socket, 'listening')
    const received: Received[] = []
    socket.on('message', (bytes, { address, port }) => {
      received.push({ address, port, bytes: bytes.toString('base64') })
    })
    const { port } = socket.address()
    sockets.set(port, { socket, received })
    return port
  },

  async send(port: number, to: Remote, datagrams: readonly string[]): Promise<void> {
    const socket = socketOf(port)
    const sent = datagrams.map(
      (bytes) =>
        new Promise<void>((resolve, reject) => {
          socket.send(Buffer.from(bytes, 'base64'), to.port, to.address, (error) => {
            if (error === null) resolve()
            else reject(error)
          })
        }),
    )
    await Promise.all(sent)
  },

  /** What has come since it was last asked for. */
  takeReceived: (port: number): Received[] => sockets.get(port)?.received.splice(0) ?? [],
}

export type UdpCalls = typeof calls

await answerCalls(calls)
for (const { socket } of sockets.values()) socket.close()
