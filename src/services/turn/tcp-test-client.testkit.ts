import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { TransportAddress } from '../../protocols/stun/index.ts'
import { StreamFramer } from '../../protocols/turn/index.ts'
import { TestClient } from './core/test-client.testkit.ts'

/** How long a test waits for what must come. */
const deadlineMs = 5000

/** Waits until a condition holds, which data or the end of the socket makes true. */
function until(socket: Socket, isSo: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(() => reject(new Error('it did not come'))), deadlineMs)
    const check = (): void => {
      if (isSo()) settle(resolve)
    }
    const settle = (how: () => void): void => {
      clearTimeout(timer)
      socket.off('data', check).off('close', check)
      how()
    }
    socket.on('data', check).on('close', check)
    check()
  })
}

/** Waits until a socket is closed, however. */
export function closeOf(socket: Socket): Promise<void> {
  return until(socket.resume(), () => socket.destroyed)
}

/** A TURN client by TCP, over a real socket. */
export class TcpTestClient extends TestClient {
  readonly socket: Socket
  /** What came once the connection was a peer's. */
  raw = ''
  readonly #framer = new StreamFramer()
  #isRaw = false

  static async connect(port: number, user: string = 'alice'): Promise<TcpTestClient> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    onTestFinished(() => void socket.destroy())
    await once(socket, 'connect')
    return new TcpTestClient(socket, user)
  }

  private constructor(socket: Socket, user: string) {
    super({ address: socket.localAddress ?? '', port: socket.localPort ?? 0, user })
    this.socket = socket
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      if (this.#isRaw) {
        this.raw += chunk.toString('latin1')
        return
      }
      for (const frame of this.#framer.push(chunk)) {
        this.inbox.push(Buffer.from(frame))
        // The success of a ConnectionBind is the last message of the connection.
        if (frame[0] !== 0x01 || frame[1] !== 0x0b) continue
        this.#isRaw = true
        this.raw += Buffer.from(this.#framer.stop()).toString('latin1')
        break
      }
    })
  }

  override put(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Waits until so many messages have come in all. */
  async received(count: number): Promise<void> {
    await until(this.socket, () => this.inbox.length >= count || this.socket.destroyed)
  }

  /** Waits until these bytes have come raw. */
  async joined(text: string): Promise<void> {
    await until(this.socket, () => this.raw.length >= text.length || this.socket.destroyed)
  }

  closed(): Promise<void> {
    return closeOf(this.socket)
  }

  protected override async answerTo(transactionId: Buffer, from: number): Promise<Buffer | undefined> {
    const find = () => this.inbox.slice(from).find((one) => transactionId.equals(one.subarray(8, 20)))
    await until(this.socket, () => find() !== undefined || this.socket.destroyed)
    return find()
  }
}

/** A peer by TCP that keeps what it gets. */
export class TcpTestPeer implements TransportAddress {
  readonly address = '127.0.0.1'
  readonly port: number
  readonly sockets: Socket[] = []
  text = ''
  readonly #server: Server

  static async listen(): Promise<TcpTestPeer> {
    const server = createServer({ noDelay: true })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const peer = new TcpTestPeer(server)
    onTestFinished(() => peer.close())
    return peer
  }

  private constructor(server: Server) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (socket) => {
      this.sockets.push(socket)
      socket.on('error', () => undefined)
      socket.on('data', (chunk: Buffer) => {
        this.text += chunk.toString('latin1')
      })
    })
  }

  /** The connection that came first, when it has come. */
  async accepted(): Promise<Socket> {
    const signal = AbortSignal.timeout(deadlineMs)
    while (this.sockets[0] === undefined) await once(this.#server, 'connection', { signal })
    return this.sockets[0]
  }

  async heard(text: string): Promise<void> {
    const socket = await this.accepted()
    await until(socket, () => this.text.length >= text.length || socket.destroyed)
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy()
    this.#server.close()
  }
}
