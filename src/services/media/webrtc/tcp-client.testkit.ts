import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { framed, FrameReader } from './frame-reader.ts'

/** A client over TCP, which keeps what it received. */
export class TcpClient {
  readonly socket: Socket
  readonly received: string[] = []
  isClosed = false

  private constructor(socket: Socket) {
    this.socket = socket
    const reader = new FrameReader()
    socket.on('data', (chunk) =>
      reader.push(
        chunk,
        () => 65_535,
        (frame) => this.received.push(Buffer.from(frame).toString('latin1')),
      ),
    )
    socket
      .on('error', () => {})
      .on('close', () => {
        this.isClosed = true
      })
    onTestFinished(() => {
      socket.destroy()
    })
  }

  static async open(port: number, host = '127.0.0.1'): Promise<TcpClient> {
    const socket = connect(port, host)
    await once(socket, 'connect')
    return new TcpClient(socket)
  }

  send(datagram: Uint8Array | string): void {
    this.socket.write(framed(Buffer.from(datagram)))
  }

  async closed(): Promise<void> {
    await until(() => this.isClosed, 'the connection to be cut')
  }
}
