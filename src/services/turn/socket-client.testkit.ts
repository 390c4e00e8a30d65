import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import { StunAttribute } from '../../protocols/stun/index.ts'
import { maxFrameBytes, StreamFramer } from '../../protocols/turn/index.ts'
import { type Answer, type Build, TestClient, udpAnd } from './core/test-client.testkit.ts'

/** A client with a socket of its own, by UDP or TCP, whose requests are made by hand. */
export class SocketClient extends TestClient {
  readonly #socket: UdpSocket | Socket

  static async open(port: number, transport: 'udp' | 'tcp' = 'udp'): Promise<SocketClient> {
    if (transport === 'udp') {
      const socket = createSocket('udp4')
      socket.connect(port, '127.0.0.1')
      await once(socket, 'connect')
      return new SocketClient(socket, socket.address().port)
    }
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new SocketClient(socket, socket.localPort ?? 0)
  }

  private constructor(socket: UdpSocket | Socket, port: number) {
    super({ address: '127.0.0.1', port, user: 'alice' })
    this.#socket = socket
    const framer = new StreamFramer(maxFrameBytes)
    if (!('write' in socket)) socket.on('message', (bytes) => this.inbox.push(bytes))
    else {
      socket.on('data', (chunk: Buffer) => {
        for (const frame of framer.push(chunk)) this.inbox.push(Buffer.from(frame))
      })
    }
  }

  close(): void {
    if ('write' in this.#socket) this.#socket.destroy()
    else this.#socket.close()
  }

  override put(bytes: Uint8Array): void {
    if ('write' in this.#socket) this.#socket.write(bytes)
    else this.#socket.send(bytes)
  }

  protected override async answerTo(transactionId: Buffer, from: number): Promise<Buffer | undefined> {
    const found = (): Buffer | undefined =>
      this.inbox.slice(from).find((one) => transactionId.equals(one.subarray(8, 20)))
    await eventually(() => expect(found()).toBeDefined())
    return found()
  }
}

/** Of an Allocate: with a mobility ticket (RFC 8016). */
export const mobile: Build = udpAnd((writer) =>
  writer.attribute(StunAttribute.mobilityTicket, new Uint8Array(0)),
)

/** The ticket of an answer. */
export function ticketOf({ message }: Answer): Uint8Array {
  return Uint8Array.from(message.attribute(StunAttribute.mobilityTicket) ?? [])
}

/** Of a Refresh from elsewhere. */
export function bringing(ticket: Uint8Array): Build {
  return (writer) => writer.attribute(StunAttribute.mobilityTicket, ticket)
}
