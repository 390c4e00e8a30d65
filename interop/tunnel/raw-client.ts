import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import {
  type ByteCodec,
  cfbCodec,
  cfbKey,
  encodeMessage,
  type FrpMessage,
  type MessageBodies,
  MessageDecoder,
  type MessageName,
  privilegeKey,
} from '../../src/protocols/frp/index.ts'
import { until } from '../harness/until.ts'

/** A client of wire v1 without mux, that says what it is told to and no more. */
export class RawClient implements Disposable {
  readonly socket: Socket
  readonly received: FrpMessage[] = []
  isClosed = false
  #decoder = new MessageDecoder('v1')
  #codec: ByteCodec | undefined

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.isClosed = true
    })
    socket.on('data', (bytes) => this.#read(bytes))
  }

  /** @param localAddress where it comes from, for servers that count by address */
  static async connect(port: number, localAddress = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  /** @throws Error with the server's words when it refuses */
  async login(token: string): Promise<void> {
    const timestamp = Math.floor(Date.now() / 1000)
    this.send('Login', {
      version: '0.70.1',
      timestamp,
      privilege_key: privilegeKey(token, timestamp),
      pool_count: 1,
    })
    const { error } = await this.answer('LoginResp')
    if (error !== '') throw new Error(error)
    this.#codec = cfbCodec(cfbKey(token), randomBytes(16))
    const rest = this.#decoder.rest()
    this.#decoder = new MessageDecoder('v1')
    this.#read(rest)
  }

  send<Name extends MessageName>(name: Name, body: Partial<MessageBodies[Name]>): boolean {
    const bytes = encodeMessage('v1', name, body)
    return this.socket.write(this.#codec?.encode(bytes) ?? bytes)
  }

  /** The first message of this name. */
  async answer<Name extends MessageName>(name: Name): Promise<MessageBodies[Name]> {
    const message = await until(`a ${name}`, () => this.received.find((each) => each.name === name), {
      everyMs: 5,
    })
    // Found by this name.
    return message.body as MessageBodies[Name]
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  #read(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#decoder.push(this.#codec?.decode(bytes) ?? bytes)
    for (;;) {
      const isAnswer = this.#codec === undefined && this.received.some(({ name }) => name === 'LoginResp')
      // What follows the answer to a login is of the cipher that is about to be.
      const message = isAnswer ? undefined : this.#decoder.next()
      if (message === undefined) return
      this.received.push(message)
    }
  }
}
