import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { systemClock } from '../../../foundation/clock.ts'
import { Mux, socketStream, StreamDuplex } from '../../../mechanisms/streams/index.ts'
import {
  aeadCodec,
  aeadNonceBytes,
  acceptServerHello,
  cfbCodec,
  cfbKey,
  clientHello,
  encodeClientHello,
  type FrpMessage,
  helloFrame,
  type Login,
  type LoginResp,
  type MessageBodies,
  type MessageName,
  type NewProxy,
  type NewProxyResp,
  type NewVisitorConn,
  parseServerHello,
  privilegeKey,
  type StartWorkConn,
  transcriptHash,
  type UdpPacketCodec,
  V2_MAGIC,
  type WireVersion,
} from '../../../protocols/frp/index.ts'
import { MessageChannel } from '../message-channel.ts'

export interface FrpClientOptions {
  readonly version?: WireVersion
  readonly token?: string
  /** @defaultValue true */
  readonly mux?: boolean
  readonly login?: Partial<Login>
  /** What is offered with v2. @defaultValue 'json' */
  readonly udpPacketCodec?: UdpPacketCodec
}

/** A channel whose messages are kept until they are asked for. */
export class Talk {
  readonly channel: MessageChannel
  /** When the channel is over. */
  readonly closed: Promise<Error | undefined>
  /** All messages so far, also those that were asked for. */
  readonly heard: FrpMessage[] = []
  readonly #kept: FrpMessage[] = []
  readonly #waiting: (() => void)[] = []
  #isClosed = false

  constructor(channel: MessageChannel) {
    this.channel = channel
    channel.onMessage = (message) => {
      this.heard.push(message)
      this.#kept.push(message)
      this.#wake()
    }
    this.closed = new Promise((resolve) => {
      channel.onClose = (error) => {
        this.#isClosed = true
        resolve(error)
        this.#wake()
      }
    })
  }

  /** The next message of this name that was not asked for yet. */
  async next<Name extends MessageName>(name: Name): Promise<MessageBodies[Name]> {
    for (;;) {
      const at = this.#kept.findIndex((message) => message.name === name)
      const [message] = at < 0 ? [] : this.#kept.splice(at, 1)
      if (message !== undefined) return message.body as MessageBodies[Name]
      if (this.#isClosed) throw new Error(`closed before ${name}`)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  count(name: MessageName): number {
    return this.heard.filter((message) => message.name === name).length
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** What serves users: a work connection that was started. */
export type Service = (stream: ByteStream, start: StartWorkConn) => void

/** A small frpc, over real sockets. It does only what it is told. */
export class FrpClient {
  readonly options: FrpClientOptions
  readonly port: number
  readonly #streams = new Set<ByteStream>()
  #mux: Mux | undefined
  #control: Talk | undefined
  answer: LoginResp | undefined

  constructor(port: number, options: FrpClientOptions = {}) {
    this.port = port
    this.options = options
  }

  /** Logs in; rejects with what the server said when it refused. */
  static async login(port: number, options: FrpClientOptions = {}): Promise<FrpClient> {
    const client = new FrpClient(port, options)
    const { error } = await client.sayLogin()
    if (error === '') return client
    await client.close()
    throw new Error(error)
  }

  get version(): WireVersion {
    return this.options.version ?? 'v1'
  }

  get runId(): string {
    return this.answer?.run_id ?? ''
  }

  get control(): Talk {
    if (this.#control === undefined) throw new Error('nobody has logged in')
    return this.#control
  }

  /** A connection in frp's sense; nothing is said on it. */
  async open(): Promise<ByteStream> {
    if (this.options.mux === false) return this.#dial()
    this.#mux ??= new Mux(await this.#dial(), { role: 'client', keepaliveMs: 0, clock: systemClock })
    const stream = await this.#mux.open()
    this.#streams.add(stream)
    return stream
  }

  /** A connection in which the wire version has been said. */
  async talk(): Promise<Talk> {
    const stream = await this.open()
    if (this.version === 'v2') stream.write(V2_MAGIC)
    const talk = new Talk(
      new MessageChannel(stream, this.version, { udpPacketCodec: this.options.udpPacketCodec ?? 'json' }),
    )
    talk.channel.resume()
    return talk
  }

  async sayLogin(): Promise<LoginResp> {
    const { token = 'secret', login = {}, udpPacketCodec } = this.options
    const talk = await this.talk()
    const { channel } = talk
    this.#control = talk
    const hello = clientHello({ transport: 'tcp', tls: false, tcpMux: true }, randomBytes(32))
    const payload = encodeClientHello({
      ...hello,
      udpPacketCodecs: udpPacketCodec === 'binary-v1' ? ['binary-v1'] : [],
    })
    let serverPayload: Buffer | undefined
    if (this.version === 'v2') {
      channel.expectHello('server', (bytes) => (serverPayload = bytes))
      channel.sendRaw(helloFrame('client', payload))
    }
    const timestamp = Math.floor(Date.now() / 1000)
    // The answer is the last in clear.
    const { onMessage } = channel
    channel.onMessage = (message) => {
      channel.onMessage = onMessage
      if (message.name === 'LoginResp' && message.body.error === '') {
        if (serverPayload === undefined) {
          channel.secure(cfbCodec(cfbKey(token), randomBytes(16)))
        } else {
          const { algorithm } = acceptServerHello(hello, parseServerHello(serverPayload))
          const transcript = transcriptHash(payload, serverPayload)
          const nonce = randomBytes(aeadNonceBytes(algorithm))
          channel.secure(aeadCodec({ algorithm, token, transcript, role: 'client', nonce }))
        }
      }
      onMessage(message)
    }
    channel.send('Login', {
      version: '0.70.0',
      privilege_key: privilegeKey(token, timestamp),
      timestamp,
      pool_count: 0,
      ...login,
    })
    this.answer = await talk.next('LoginResp')
    if (this.version === 'v2' && serverPayload === undefined) throw new Error('answered without a hello')
    return this.answer
  }

  /** Asks for a proxy, of type tcp on any port unless told otherwise. */
  async ask(request: Partial<NewProxy>): Promise<NewProxyResp> {
    this.control.channel.send('NewProxy', request)
    return this.control.next('NewProxyResp')
  }

  /** As `ask`, and rejects with what the server said when it refused. @returns the port, 0 where there is none */
  async register(request: Partial<NewProxy>): Promise<number> {
    const { error, remote_addr } = await this.ask(request)
    if (error !== '') throw new Error(error)
    return Number(/:(\d+)$/.exec(remote_addr)?.[1] ?? 0)
  }

  /** Opens a work connection. */
  async work(runId: string = this.runId): Promise<Talk> {
    const talk = await this.talk()
    talk.channel.send('NewWorkConn', { run_id: runId })
    return talk
  }

  /** Opens a work connection and waits until it is started. */
  async startedWork(): Promise<{ readonly stream: ByteStream; readonly start: StartWorkConn }> {
    const talk = await this.talk()
    const { channel } = talk
    channel.send('NewWorkConn', { run_id: this.runId })
    return new Promise((resolve, reject) => {
      channel.onMessage = (message) => {
        if (message.name === 'StartWorkConn' && message.body.error === '') {
          resolve({ stream: channel.detach(), start: message.body })
        } else reject(new Error(`${message.name} ${JSON.stringify(message.body)}`))
      }
      channel.onClose = (error) => reject(error ?? new Error('closed'))
    })
  }

  /** Opens a work connection for each that is asked for, and serves users on it. */
  serve(service: Service): void {
    const { channel, heard } = this.control
    const { onMessage } = channel
    const open = (): void => {
      void this.startedWork().then(({ stream, start }) => service(stream, start), nothing)
    }
    channel.onMessage = (message) => {
      if (message.name === 'ReqWorkConn') open()
      onMessage(message)
    }
    for (const message of heard) if (message.name === 'ReqWorkConn') open()
  }

  /** Visits a proxy: the stream when the server lets the visitor in, otherwise what it said. */
  async visit(
    name: string,
    secretKey: string,
    fields: Partial<NewVisitorConn> = {},
  ): Promise<ByteStream | string> {
    const { channel } = await this.talk()
    channel.send('NewVisitorConn', {
      run_id: this.runId,
      proxy_name: name,
      sign_key: privilegeKey(secretKey, 1),
      timestamp: 1,
      ...fields,
    })
    return new Promise((resolve, reject) => {
      channel.onMessage = (message) => {
        if (message.name !== 'NewVisitorConnResp') reject(new Error(message.name))
        else resolve(message.body.error === '' ? channel.detach() : message.body.error)
      }
      channel.onClose = (error) => reject(error ?? new Error('closed'))
    })
  }

  /** Cuts all that it has. */
  async close(): Promise<void> {
    this.#mux?.destroy()
    for (const stream of this.#streams) stream.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #dial(): Promise<ByteStream> {
    const socket = connect({ port: this.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    await once(socket, 'connect')
    const stream = socketStream(socket)
    this.#streams.add(stream)
    return stream
  }
}

/** Sends everything back, and the end. */
export function echo(stream: ByteStream): void {
  const duplex = new StreamDuplex(stream)
  duplex.on('error', nothing)
  duplex.pipe(duplex)
}

function nothing(): void {}
