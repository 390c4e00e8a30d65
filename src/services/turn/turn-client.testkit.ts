import { randomBytes } from 'node:crypto'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type PeerCertificate, TLSSocket } from 'node:tls'
import type { StunAttributeView, TransportAddress } from '../../protocols/stun/index.ts'
import { TurnClient, type TurnClientOutput } from '../../protocols/turn/index.ts'

export interface TestTurnClientOptions {
  /** @defaultValue udp */
  readonly transport?: 'udp' | 'tcp' | 'tls'
  /** Of 127.0.0.1. */
  readonly port: number
  readonly username: string
  readonly password: string
  /** Sent ahead of everything on a TCP connection. @defaultValue nothing */
  readonly preamble?: Uint8Array
  /** @defaultValue none */
  readonly alpn?: readonly string[]
}

/** A server's refusal. */
class TurnRefusal extends Error {
  readonly code: number | string

  constructor(operation: string, code: number | string) {
    super(`${operation} failed: ${code}`)
    this.code = code
  }
}

type Kind = TurnClientOutput['kind']
type OutputOf<K extends Kind> = Extract<TurnClientOutput, { readonly kind: K }>

/** A TURN client with a socket of its own, for tests of servers on loopback. Takes any certificate. */
export class TestTurnClient implements AsyncDisposable {
  /** Texts of datagrams that came from peers. */
  readonly received: string[] = []
  /** Resolves when the server has ended a connection. */
  readonly ended: Promise<void>
  readonly #client: TurnClient
  readonly #socket: UdpSocket | Socket
  readonly #waiting = new Set<(output: TurnClientOutput) => void>()
  #timer: NodeJS.Timeout | undefined
  readonly #onData: (() => void)[] = []

  /** Connects; nothing is asked for yet. */
  static async open(options: TestTurnClientOptions): Promise<TestTurnClient> {
    const { transport = 'udp', port } = options
    if (transport === 'udp') {
      const socket = createSocket('udp4')
      socket.connect(port, '127.0.0.1')
      await once(socket, 'connect')
      return new TestTurnClient(socket, options)
    }
    const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    if (options.preamble !== undefined) socket.write(options.preamble)
    if (transport === 'tcp') return new TestTurnClient(socket, options)
    const { alpn } = options
    const secure = connectTls({
      socket,
      rejectUnauthorized: false,
      servername: 'localhost',
      ...(alpn !== undefined && { ALPNProtocols: [...alpn] }),
    })
    await once(secure, 'secureConnect')
    return new TestTurnClient(secure, options)
  }

  private constructor(socket: UdpSocket | Socket, { username, password }: TestTurnClientOptions) {
    this.#socket = socket
    this.#client = new TurnClient({
      username,
      password,
      isStream: 'write' in socket,
      random: randomBytes,
    })
    socket.on('error', () => {})
    const take = (bytes: Buffer): void => {
      this.#client.receive(bytes, performance.now())
      this.#drain()
    }
    if ('write' in socket) socket.on('data', take)
    else socket.on('message', take)
    this.ended = once(socket, 'close').then(() => {})
  }

  /** Of a TLS connection. */
  get certificate(): PeerCertificate | undefined {
    return this.#socket instanceof TLSSocket ? this.#socket.getPeerCertificate() : undefined
  }

  /** The local port, which is that of the client's address. */
  get port(): number {
    if (!('write' in this.#socket)) return this.#socket.address().port
    const { localPort } = this.#socket
    if (localPort === undefined) throw new Error('the connection is closed')
    return localPort
  }

  /** @throws TurnRefusal, as all that asks for something */
  async allocate(attributes: readonly StunAttributeView[] = []): Promise<OutputOf<'allocated'>> {
    return await this.#ask('allocated', 'allocate', (nowMs) => this.#client.allocate(nowMs, attributes))
  }

  async refresh(): Promise<void> {
    await this.#ask('refreshed', 'refresh', (nowMs) => this.#client.refresh(nowMs))
  }

  async release(): Promise<void> {
    await this.#ask('released', 'release', (nowMs) => this.#client.release(nowMs))
  }

  async permit(peer: TransportAddress): Promise<void> {
    await this.#ask('permitted', 'permit', (nowMs) => this.#client.permit([peer], nowMs))
  }

  async bind(peer: TransportAddress): Promise<void> {
    await this.#ask('bound', 'bind', (nowMs) => void this.#client.bind(peer, nowMs))
  }

  send(peer: TransportAddress, text: string): void {
    this.#client.send(peer, Buffer.from(text))
    this.#drain()
  }

  /** Sends, and waits until the peer has sent it back. */
  async echo(peer: TransportAddress, text: string): Promise<void> {
    this.send(peer, text)
    while (!this.received.includes(text)) {
      await new Promise<void>((resolve) => this.#onData.push(resolve))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer)
    if ('write' in this.#socket) {
      if (this.#socket.destroyed) return
      this.#socket.destroy()
    } else this.#socket.close()
    await this.ended
  }

  #ask<K extends Kind>(wanted: K, operation: string, begin: (nowMs: number) => void): Promise<OutputOf<K>> {
    return new Promise((resolve, reject) => {
      const settle = (output: TurnClientOutput): void => {
        if (output.kind === wanted) resolve(output as OutputOf<K>)
        else if (output.kind === 'failed' && output.operation === operation) {
          reject(new TurnRefusal(operation, output.code))
        } else return
        this.#waiting.delete(settle)
      }
      this.#waiting.add(settle)
      void this.ended.then(() => {
        if (this.#waiting.delete(settle)) reject(new TurnRefusal(operation, 'closed'))
      })
      begin(performance.now())
      this.#drain()
    })
  }

  #drain(): void {
    for (let output = this.#client.poll(); output !== undefined; output = this.#client.poll()) {
      if (output.kind === 'send') {
        const bytes = Buffer.from(output.bytes)
        if ('write' in this.#socket) this.#socket.write(bytes)
        else this.#socket.send(bytes)
      } else if (output.kind === 'data') {
        this.received.push(Buffer.from(output.bytes).toString())
        for (const wake of this.#onData.splice(0)) wake()
      } else for (const settle of [...this.#waiting]) settle(output)
    }
    clearTimeout(this.#timer)
    const atMs = this.#client.nextDeadlineMs()
    if (atMs === undefined) return
    this.#timer = setTimeout(() => {
      this.#client.tick(performance.now())
      this.#drain()
    }, atMs - performance.now())
    this.#timer.unref()
  }
}
