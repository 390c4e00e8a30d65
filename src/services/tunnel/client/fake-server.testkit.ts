import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import {
  aeadCodec,
  cfbCodec,
  cfbKey,
  encodeServerHello,
  type FrpMessage,
  helloFrame,
  type Login,
  type LoginResp,
  type MessageBodies,
  type MessageName,
  transcriptHash,
  type UdpPacketCodec,
  V2_MAGIC,
  type WireVersion,
} from '../../../protocols/frp/index.ts'
import { MessageChannel } from '../message-channel.ts'
import type { ServerLink } from '../transport/contract.ts'

export interface FakeServerOptions {
  readonly version?: WireVersion
  readonly token?: string
  /** @defaultValue accepts with the run id `run-1` */
  readonly answer?: (login: Login) => Partial<LoginResp> | undefined
  /** With v2. @defaultValue 'json' */
  readonly udpPacketCodec?: UdpPacketCodec
  /** Pieces in which the client is given what the server sends. */
  readonly chunkBytes?: number
  /** Whether the link is one session that is lost as a whole. @defaultValue true */
  readonly isMux?: boolean
}

/** A connection of the client, with what it has said. */
export interface FakeConnection {
  readonly channel: MessageChannel
  readonly received: FrpMessage[]
  isClosed: boolean
  error: Error | undefined
}

/** A server at the other end of memory streams. It accepts logins; everything else is the test's to say. */
export class FakeServer {
  readonly #options: FakeServerOptions
  readonly logins: Login[] = []
  /** The control connections, in order of their logins. */
  readonly controls: FakeConnection[] = []
  readonly works: FakeConnection[] = []
  readonly visitors: FakeConnection[] = []
  /** How many links were made and closed. */
  links = 0
  closedLinks = 0
  /** Why no link can be had. */
  unreachable: Error | undefined

  /** Whose login came last. */
  #asking: MessageChannel | undefined

  constructor(options: FakeServerOptions = {}) {
    this.#options = options
  }

  /** For `TunnelClientOptions.connect`. */
  readonly connect = async (): Promise<ServerLink> => {
    if (this.unreachable !== undefined) throw this.unreachable
    this.links++
    const streams: ByteStream[] = []
    const callbacks: ((error?: Error) => void)[] = []
    let isClosed = false
    return {
      open: async () => {
        const { chunkBytes = 65_536, isMux = true } = this.#options
        const [ours, theirs] = memoryStreamPair({ chunkBytes })
        if (isMux) streams.push(theirs)
        this.#accept(ours)
        return theirs
      },
      onClose: (callback) => void callbacks.push(callback),
      close: (error) => {
        if (isClosed) return
        isClosed = true
        this.closedLinks++
        for (const stream of streams) stream.destroy(error)
        queueMicrotask(() => {
          for (const callback of callbacks) callback(error)
        })
      },
    }
  }

  get control(): FakeConnection {
    const control = this.controls.at(-1)
    if (control === undefined) throw new Error('nobody has logged in')
    return control
  }

  /** Sends anything to who asked to log in last. */
  talk(bytes: Uint8Array): void {
    this.#asking?.sendRaw(bytes)
  }

  /** Messages of the control connection with this name, so far. */
  said<Name extends MessageName>(name: Name): MessageBodies[Name][] {
    return bodiesOf(this.control, name)
  }

  /** Accepts all registrations that were made and those to come. */
  acceptProxies(connection: FakeConnection = this.control): void {
    const accept = (message: FrpMessage): void => {
      if (message.name !== 'NewProxy') return
      const { proxy_name } = message.body
      connection.channel.send('NewProxyResp', { proxy_name, remote_addr: ':1' })
    }
    for (const message of connection.received) accept(message)
    connection.channel.onMessage = (message) => {
      connection.received.push(message)
      accept(message)
    }
  }

  #accept(stream: ByteStream): void {
    const { version = 'v1', udpPacketCodec = 'json' } = this.#options
    const begin = (): void => {
      const channel = new MessageChannel(stream, version, { udpPacketCodec })
      const connection: FakeConnection = { channel, received: [], isClosed: false, error: undefined }
      let clientHello: Buffer | undefined
      if (version === 'v2') channel.expectHello('client', (payload) => void (clientHello = payload))
      channel.onClose = (error) => {
        connection.isClosed = true
        connection.error = error
      }
      channel.onMessage = (first) => {
        connection.received.push(first)
        channel.onMessage = (message) => void connection.received.push(message)
        if (first.name === 'Login') this.#login(first.body, connection, clientHello)
        else if (first.name === 'NewWorkConn') this.works.push(connection)
        else if (first.name === 'NewVisitorConn') this.visitors.push(connection)
      }
      channel.resume()
    }
    if (version === 'v1') begin()
    else takeMagic(stream, begin)
  }

  #login(login: Login, connection: FakeConnection, clientHello: Buffer | undefined): void {
    const { answer, token = 'secret', udpPacketCodec = 'json' } = this.#options
    this.logins.push(login)
    const { channel } = connection
    this.#asking = channel
    const body = answer === undefined ? { run_id: 'run-1' } : answer(login)
    if (body === undefined) return
    let codec = cfbCodec(cfbKey(token), new Uint8Array(16).fill(1))
    if (clientHello !== undefined) {
      const serverHello = encodeServerHello({
        codec: 'json',
        algorithm: 'aes-256-gcm',
        serverRandom: new Uint8Array(32),
        udpPacketCodec,
        error: '',
      })
      channel.sendRaw(helloFrame('server', serverHello))
      codec = aeadCodec({
        algorithm: 'aes-256-gcm',
        token,
        transcript: transcriptHash(clientHello, serverHello),
        role: 'server',
        nonce: new Uint8Array(12).fill(2),
      })
    }
    channel.send('LoginResp', { version: '0.70.1', ...body })
    channel.secure(codec)
    this.controls.push(connection)
  }
}

/** What a connection has said under one name. */
export function bodiesOf<Name extends MessageName>(
  { received }: FakeConnection,
  name: Name,
): MessageBodies[Name][] {
  return received.flatMap((message) => (message.name === name ? [message.body as MessageBodies[Name]] : []))
}

function takeMagic(stream: ByteStream, done: () => void): void {
  let held = Buffer.alloc(0)
  stream.attach({
    onBytes(bytes) {
      held = Buffer.concat([held, bytes])
      if (held.length < V2_MAGIC.length) return true
      stream.pause()
      if (!held.subarray(0, V2_MAGIC.length).equals(V2_MAGIC)) throw new Error('no magic')
      stream.unread(held.subarray(V2_MAGIC.length))
      queueMicrotask(done)
      return true
    },
    onEnd: () => undefined,
    onDrain: () => undefined,
    onClose: () => undefined,
  })
  stream.resume()
}
