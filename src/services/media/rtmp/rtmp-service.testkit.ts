import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import {
  type Amf0Value,
  amf0Text,
  ClientDialogue,
  ChunkWriter,
  createStreamRequest,
  decodeCommand,
  isCommand,
  MessageType,
  type Refusal,
  type RtmpMessage,
  ServerDialogue,
  type StreamRequest,
  type StreamRequestFields,
} from '../../../protocols/rtmp/index.ts'

/** Waits until `condition` holds; fails after `timeoutMs`. */
export async function until(condition: () => boolean, timeoutMs = 15_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Waits until `value` has been the same for a while. */
export async function untilStill(value: () => number): Promise<void> {
  let last = Number.NaN
  let since = performance.now()
  await until(() => {
    const now = value()
    if (now !== last) since = performance.now()
    last = now
    return performance.now() - since > 100
  }, 15_000)
}

export const videoMessage = (timestamp: number, payload: Uint8Array): RtmpMessage => ({
  chunkStreamId: 6,
  type: MessageType.video,
  streamId: 1,
  timestamp,
  payload,
})

/** One client that came to a `FakeOrigin`. */
export interface OriginVisit {
  readonly socket: Socket
  readonly request: StreamRequest
  readonly dialogue: ServerDialogue
  readonly messages: RtmpMessage[]
  send(message: RtmpMessage): boolean
  /** Writes what the dialogue has to say. */
  flush(): boolean
}

export interface FakeOriginOptions {
  /** `accept` by default. A function decides itself and calls the dialogue's methods. */
  readonly answer?: (visit: OriginVisit) => void
  /** Takes over each raw connection instead of speaking RTMP. */
  readonly raw?: (socket: Socket) => void
  /** Speaks RTMPS. */
  readonly tls?: TlsOptions
}

/** An origin made of our own server dialogue, on a real socket. */
export class FakeOrigin {
  readonly visits: OriginVisit[] = []
  readonly sockets = new Set<Socket>()
  readonly #options: FakeOriginOptions
  readonly #server: Server

  constructor(options: FakeOriginOptions = {}) {
    this.#options = options
    const { tls } = options
    const onConnection = (socket: Socket): void => this.#onConnection(socket)
    this.#server =
      tls === undefined
        ? createServer({ allowHalfOpen: true }, onConnection)
        : createTlsServer({ allowHalfOpen: true, ...tls }, onConnection)
    // Of TLS those too whose handshake fails.
    this.#server.on('connection', (socket: Socket) => this.sockets.add(socket))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    if (!this.#server.listening) return
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #onConnection(socket: Socket): void {
    this.sockets.add(socket)
    socket.on('error', () => {})
    if (this.#options.raw !== undefined) {
      this.#options.raw(socket)
      return
    }
    const dialogue = new ServerDialogue({ random: randomBytes })
    let visit: OriginVisit | undefined
    const flush = (): boolean => {
      let hasRoom = true
      for (let out = dialogue.poll(); out; out = dialogue.poll()) {
        if (out.kind === 'send') {
          hasRoom = socket.write(out.bytes)
        } else if (out.kind === 'message') {
          visit?.messages.push(out.message)
        } else {
          visit = {
            socket,
            request: out.request,
            dialogue,
            messages: [],
            send(message) {
              dialogue.write(message)
              return flush()
            },
            flush,
          }
          this.visits.push(visit)
          if (this.#options.answer === undefined) dialogue.accept()
          else this.#options.answer(visit)
        }
      }
      return hasRoom
    }
    socket.on('data', (bytes: Buffer) => {
      dialogue.receive(bytes)
      flush()
    })
  }
}

/** A publisher or player made of our own client dialogue, on a real socket. */
export class TestClient {
  readonly socket: Socket
  readonly dialogue: ClientDialogue
  readonly messages: RtmpMessage[] = []
  ready: { readonly streamId: number; readonly messages: readonly RtmpMessage[] } | undefined
  refusal: Refusal | undefined
  isClosed = false

  /** @param open @defaultValue a plain connection */
  constructor(
    port: number,
    fields: Partial<StreamRequestFields> = {},
    open: () => Socket = () => connect({ port, host: '127.0.0.1' }),
  ) {
    const request = createStreamRequest({
      action: 'publish',
      app: 'live',
      tcUrl: `rtmp://127.0.0.1:${port}/live`,
      streamName: 's',
      ...fields,
    })
    this.dialogue = new ClientDialogue(request, { random: randomBytes })
    this.socket = open()
    this.socket.once('encrypted' in this.socket ? 'secureConnect' : 'connect', () => this.flush())
    this.socket.on('data', (bytes: Buffer) => {
      this.dialogue.receive(bytes)
      this.flush()
    })
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      this.isClosed = true
    })
  }

  flush(): boolean {
    let hasRoom = true
    for (let out = this.dialogue.poll(); out; out = this.dialogue.poll()) {
      if (out.kind === 'send') hasRoom = this.socket.write(out.bytes)
      else if (out.kind === 'ready') this.ready = out
      else if (out.kind === 'refused') this.refusal = out.refusal
      else this.messages.push(out.message)
    }
    return hasRoom
  }

  send(message: RtmpMessage): boolean {
    this.dialogue.write(message)
    return this.flush()
  }

  /** Audio, video and aggregates that came. */
  get media(): readonly RtmpMessage[] {
    return this.messages.filter(({ type }) => mediaTypes.has(type))
  }

  async untilReady(): Promise<this> {
    await until(() => this.ready !== undefined)
    return this
  }

  /** Codes of the statuses that came. */
  get statuses(): readonly string[] {
    const all = [...(this.ready?.messages ?? []), ...(this.refusal?.messages ?? []), ...this.messages]
    return all.filter(isCommand).flatMap((message) => {
      const info: Amf0Value = decodeCommand(message, 'self').args[1]
      return amf0Text(info, 'code') ?? []
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await until(() => this.isClosed)
  }
}

const mediaTypes: ReadonlySet<number> = new Set([MessageType.audio, MessageType.video, MessageType.aggregate])

/** Chunks of a message, for bytes that are written by hand. */
export function chunksOf(message: RtmpMessage, chunkSize: number): Buffer {
  return new ChunkWriter(chunkSize).write(message)
}
