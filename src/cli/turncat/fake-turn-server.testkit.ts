import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import {
  longTermKey,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  StunWriter,
  verifyMessageIntegrity,
} from '../../protocols/stun/index.ts'
import { isChannelData, StreamFramer } from '../../protocols/turn/index.ts'
import type { TurnServer } from './turn-uri.ts'

const identity = { username: 'user', password: 'pass' }
const realm = 'test'
const key = longTermKey(identity.username, realm, identity.password)

/**
 * As much of a TURN server as a tunnel meets, on real sockets: every channel is an echo, and every connection to a peer too.
 * It writes down which methods came; `release` is the Refresh that deletes.
 */
export class FakeTurnServer implements AsyncDisposable {
  readonly came: string[] = []
  /** Answers this method with this error. */
  refusal: { readonly method: number; readonly code: number } | undefined
  /** What is not answered before `answerHeld`, by its name in `came`. */
  readonly held = new Set<string>()
  readonly server: TurnServer
  readonly sockets = new Set<Socket>()
  readonly #close: () => Promise<void>
  readonly #heldAnswers: (() => void)[] = []

  private constructor(server: TurnServer, close: () => Promise<void>) {
    this.server = server
    this.#close = close
  }

  static async udp(): Promise<FakeTurnServer> {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const fake = new FakeTurnServer(
      { host: '127.0.0.1', port: socket.address().port, transport: 'udp', identity },
      () => new Promise((resolve) => socket.close(() => resolve())),
    )
    socket.on('message', (bytes, { port, address }) => {
      fake.#answer(bytes, (answer) => socket.send(answer, port, address))
    })
    return fake
  }

  static async tcp(): Promise<FakeTurnServer> {
    const server = createServer({ allowHalfOpen: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const fake = new FakeTurnServer(
      { host: '127.0.0.1', port: (server.address() as AddressInfo).port, transport: 'tcp', identity },
      async () => {
        for (const socket of fake.sockets) socket.destroy()
        await new Promise<void>((resolve) => server.close(() => resolve()))
      },
    )
    server.on('connection', (socket) => fake.#serve(socket))
    return fake
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }

  answerHeld(): void {
    for (const answer of this.#heldAnswers.splice(0)) answer()
  }

  #serve(socket: Socket): void {
    this.sockets.add(socket)
    socket.on('error', () => undefined)
    const framer = new StreamFramer()
    const onData = (chunk: Uint8Array): void => {
      for (const frame of framer.push(chunk)) {
        this.#answer(frame, (answer) => socket.write(answer))
        if (this.came.at(-1) !== 'connectionBind' || this.refusal !== undefined) continue
        socket.off('data', onData)
        socket.write(framer.stop())
        socket.pipe(socket)
      }
    }
    socket.on('data', onData)
    socket.once('end', () => socket.end())
  }

  #answer(bytes: Uint8Array, send: (answer: Uint8Array) => void): void {
    const answer = this.#answerTo(bytes)
    if (answer === undefined) return
    if (this.held.has(this.came.at(-1) ?? '')) this.#heldAnswers.push(() => send(answer))
    else send(answer)
  }

  #answerTo(bytes: Uint8Array): Uint8Array | undefined {
    if (isChannelData(bytes[0])) {
      this.came.push('data')
      return Uint8Array.from(bytes)
    }
    const message = StunMessage.decode(bytes)
    if (typeof message === 'string' || message.class !== StunClass.request) return undefined
    const { method, transactionId } = message
    if (!verifyMessageIntegrity(message, key)) {
      return new StunWriter(method, StunClass.error, transactionId)
        .attribute(StunAttribute.errorCode, Uint8Array.of(0, 0, 4, 1))
        .text(StunAttribute.realm, realm)
        .text(StunAttribute.nonce, 'nonce')
        .finish()
    }
    const isRelease = method === StunMethod.refresh && message.u32(StunAttribute.lifetime) === 0
    this.came.push(isRelease ? 'release' : nameOf(method))
    if (this.refusal?.method === method) {
      const { code } = this.refusal
      return new StunWriter(method, StunClass.error, transactionId)
        .attribute(
          StunAttribute.errorCode,
          Buffer.from([0, 0, Math.floor(code / 100), code % 100, 0x6e, 0x6f, 0x1b, 0]),
        )
        .integrity(key)
        .finish()
    }
    const address = { address: '127.0.0.1', port: 4 }
    return new StunWriter(method, StunClass.success, transactionId)
      .xorAddress(StunAttribute.xorRelayedAddress, address)
      .xorAddress(StunAttribute.xorMappedAddress, address)
      .u32(StunAttribute.lifetime, isRelease ? 0 : 600)
      .u32(StunAttribute.connectionId, 5)
      .integrity(key)
      .finish()
  }
}

function nameOf(method: number): string {
  return Object.entries(StunMethod).find(([, value]) => value === method)?.[0] ?? 'unknown'
}
