import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Remote } from './contract.ts'

/** A plain UDP socket on loopback that keeps what it received until a test asks for it. */
export class UdpPeer implements Remote {
  readonly address: string
  readonly port: number
  readonly received: { readonly bytes: Buffer; readonly from: Remote }[] = []
  readonly #socket: Socket
  #isOpen = true

  static async open(address = '127.0.0.1', port = 0): Promise<UdpPeer> {
    const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 })
    socket.bind(port, address)
    await once(socket, 'listening')
    return new UdpPeer(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    const { address, port } = socket.address()
    this.address = address
    this.port = port
    socket.on('message', (bytes, { address, port }) => this.received.push({ bytes, from: { address, port } }))
  }

  /** Resolves when the datagram is with the system and the event loop has turned, so that sockets are read. */
  send(bytes: Uint8Array | string, to: Remote): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(bytes, to.port, to.address, (error) =>
        error ? reject(error) : setImmediate(resolve),
      )
    })
  }

  /** Sends them one after the other. */
  async burst(datagrams: readonly (Uint8Array | string)[], to: Remote): Promise<void> {
    await Promise.all(datagrams.map(async (bytes) => await this.send(bytes, to)))
  }

  /** The next datagram that was not taken yet. */
  async next(): Promise<{ readonly bytes: Buffer; readonly text: string; readonly from: Remote }> {
    await until(() => this.received.length > 0, 'a datagram')
    const { bytes, from } = this.received.shift() as (typeof this.received)[number]
    return { bytes, text: bytes.toString('latin1'), from }
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }
}

/** Resolves when the condition holds, looking once per turn of the event loop; rejects after 15 s. */
export async function until(condition: () => boolean, what: string, deadlineMs = 15_000): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${deadlineMs} ms in vain for ${what}`)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}
