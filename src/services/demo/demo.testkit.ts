import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, get } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { vi } from 'vitest'
import type { RTCPeerConnection } from 'werift'
import { systemClock } from '../../foundation/clock.ts'
import { silentLogger } from '../../mechanisms/telemetry/index.ts'
import { FlvReader, flvTagOf, messageOf } from '../../protocols/flv/index.ts'
import type { FlvTag } from '../../protocols/flv/index.ts'
import {
  amf0Text,
  ClientDialogue,
  createStreamRequest,
  decodeCommand,
  isCommand,
} from '../../protocols/rtmp/index.ts'
import type { ClientDialogueOutput } from '../../protocols/rtmp/index.ts'
import { DemoOrigin } from './demo-origin.ts'
import type { DemoOriginOptions } from './demo-origin.ts'
import { loadWerift } from './webrtc/werift.ts'

/** Waits until `condition` holds, at most five seconds. */
export async function until(condition: () => boolean): Promise<void> {
  await vi.waitUntil(condition, { timeout: 15_000, interval: 5 })
}

/** A registration API that says yes and keeps what it was told. */
export class FakeRegistration implements AsyncDisposable {
  readonly heartbeats: {
    readonly body: Record<string, unknown>
    readonly authorization: string | undefined
  }[] = []
  status = 200
  readonly #server = createServer((request, response) => {
    void read(request).then((body) => {
      const parsed = JSON.parse(body.toString()) as Record<string, unknown>
      this.heartbeats.push({ body: parsed, authorization: request.headers.authorization })
      response.writeHead(this.status, { 'content-type': 'application/json' }).end('{"code":0}')
    })
  })

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/api/v1/srs/register`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    if (this.#server.listening) await once(this.#server, 'close')
  }
}

/** A demo origin that registers nowhere. */
export async function startOrigin(options: Partial<DemoOriginOptions> = {}): Promise<DemoOrigin> {
  const registerUrl = 'http://127.0.0.1:1/api/v1/srs/register'
  const origin = new DemoOrigin({ log: silentLogger(), clock: systemClock, registerUrl, ...options })
  await origin.start()
  return origin
}

/** An RTMP client of ours: asks for a stream and sends, or keeps, tags. */
export class RtmpClient implements AsyncDisposable {
  readonly tags: FlvTag[] = []
  /** The status code that came instead of the stream, or in it. */
  refusedWith: string | undefined
  streamId: number | undefined
  readonly socket: Socket
  readonly #dialogue: ClientDialogue

  constructor(port: number, action: 'publish' | 'play', stream: string) {
    const request = createStreamRequest({
      action,
      app: 'live',
      tcUrl: `rtmp://127.0.0.1:${port}/live`,
      streamName: stream,
    })
    this.#dialogue = new ClientDialogue(request, { random: randomBytes })
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('error', () => undefined)
    this.socket.on('data', (bytes) => {
      this.#dialogue.receive(bytes)
      this.#drain()
    })
    this.#drain()
  }

  get isReady(): boolean {
    return this.streamId !== undefined
  }

  send(tag: FlvTag): void {
    const message = messageOf(tag, this.streamId ?? 1)
    if (message === undefined) throw new Error(`no message for tag type ${tag.type}`)
    this.#dialogue.write(message)
    this.#drain()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    if (!this.socket.closed) await once(this.socket, 'close')
  }

  #drain(): void {
    for (let out = this.#dialogue.poll(); out !== undefined; out = this.#dialogue.poll()) this.#apply(out)
  }

  #apply(out: ClientDialogueOutput): void {
    if (out.kind === 'send') this.socket.write(out.bytes)
    else if (out.kind === 'ready') this.streamId = out.streamId
    else if (out.kind === 'refused') this.refusedWith = out.refusal.code
    else {
      const { message } = out
      const tag = flvTagOf(message)
      if (tag !== undefined) this.tags.push(tag)
      else if (isCommand(message)) {
        this.refusedWith = amf0Text(decodeCommand(message, 'origin').args[1], 'code')
      }
    }
  }
}

/** An HTTP-FLV viewer: keeps the tags it was sent. */
export class FlvClient {
  readonly tags: FlvTag[] = []
  readonly response: IncomingMessage
  readonly #reader = new FlvReader()

  private constructor(response: IncomingMessage) {
    this.response = response
    response.on('error', () => undefined)
    response.on('data', (bytes: Buffer) => {
      this.#reader.push(bytes)
      for (let tag = this.#reader.next(); tag !== undefined; tag = this.#reader.next()) this.tags.push(tag)
    })
  }

  static async open(port: number, path: string): Promise<FlvClient> {
    const request = get({ host: '127.0.0.1', port, path, agent: false })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return new FlvClient(response)
  }
}

/** A werift peer on loopback, as a browser would be: full ICE, complete offer. */
export async function browserPeer(codec: 'vp8' | 'h264' = 'vp8'): Promise<RTCPeerConnection> {
  const werift = await loadWerift()
  return new werift.RTCPeerConnection({
    bundlePolicy: 'max-bundle',
    iceServers: [],
    iceUseIpv4: false,
    iceUseIpv6: false,
    iceInterfaceAddresses: { udp4: '127.0.0.1' },
    iceAdditionalHostAddresses: ['127.0.0.1'],
    codecs: {
      audio: [werift.useOPUS()],
      video: codec === 'vp8' ? [werift.useVP8(), werift.useH264()] : [werift.useH264(), werift.useVP8()],
    },
  })
}

/** Posts the offer of `peer`; applies the answer of a 201. */
export async function signal(peer: RTCPeerConnection, url: string): Promise<Response> {
  await peer.setLocalDescription(await peer.createOffer())
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/sdp' },
    body: peer.localDescription?.sdp ?? '',
  })
  if (response.status === 201) {
    await peer.setRemoteDescription({ type: 'answer', sdp: await response.clone().text() })
  }
  return response
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
  return Buffer.concat(parts)
}
