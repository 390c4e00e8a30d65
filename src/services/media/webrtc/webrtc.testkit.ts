import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type OutgoingHttpHeaders, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import {
  MemoryBalancerStore,
  type Need,
  type OriginAnnouncement,
  streamKeyOfHttp,
} from '../../../mechanisms/balancer/index.ts'
import { NodeDatapath } from '../../../mechanisms/datapath/index.ts'
import { until, UdpPeer } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { Registry, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { sdpText } from '../../../protocols/sdp/sdp.testkit.ts'
import { StunAttribute, StunClass, StunMethod, StunWriter } from '../../../protocols/stun/index.ts'
import type { WebRtcOptions } from './options.ts'
import { WebRtcService } from './service.ts'

/** What an origin was asked. */
export interface SeenRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** What an origin answers; `hang` never does. */
export type OriginReply =
  | { readonly status: number; readonly headers?: OutgoingHttpHeaders; readonly body?: string | Buffer }
  | 'hang'
  | 'reset'

const originPwd = 'originpasswordoriginpass'

/** An answer as an origin writes it, with one host candidate. */
export function answerSdp(
  ufrag: string,
  port: number,
  pwd: string = originPwd,
  address = '10.9.8.7',
): string {
  return sdpText(
    'v=0',
    'o=- 1 2 IN IP4 0.0.0.0',
    's=-',
    't=0 0',
    'a=group:BUNDLE 0',
    'm=video 9 UDP/TLS/RTP/SAVPF 96',
    'c=IN IP4 0.0.0.0',
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${pwd}`,
    `a=candidate:0 1 udp 2130706431 ${address} ${port} typ host generation 0`,
    'a=mid:0',
  )
}

/** An offer of a client. */
export function offerSdp(ufrag: string): string {
  return sdpText(
    'v=0',
    'o=- 1 2 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'm=video 50000 UDP/TLS/RTP/SAVPF 96',
    'c=IN IP4 192.0.2.7',
    'a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0',
    `a=ice-ufrag:${ufrag}`,
    'a=ice-pwd:clientpasswordclientpass',
    'a=mid:0',
  )
}

/** A media server as the gateway sees one: an HTTP API and a UDP port. */
export class FakeOrigin {
  readonly seen: SeenRequest[] = []
  readonly udp: UdpPeer
  readonly apiPort: number
  /** Requests that were given up while the origin hung. */
  abandoned = 0
  /** Decides the answers; the default makes sessions. */
  reply: (request: SeenRequest) => OriginReply = (request) => this.accept(request)
  /** The loopback address on which it is. */
  readonly address: string
  readonly #server: Server
  #sessions = 0

  /** @param certificate makes its API HTTPS */
  static async start(
    address = '127.0.0.1',
    certificate?: { readonly key: string; readonly cert: string },
  ): Promise<FakeOrigin> {
    const server = certificate === undefined ? createServer() : createSecureServer(certificate)
    server.listen(0, address)
    await once(server, 'listening')
    const origin = new FakeOrigin(server, await UdpPeer.open(address), address)
    onTestFinished(() => origin.close())
    return origin
  }

  private constructor(server: Server, udp: UdpPeer, address: string) {
    this.#server = server
    this.address = address
    this.apiPort = (server.address() as AddressInfo).port
    this.udp = udp
    server.on('request', (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const { method = '', url = '', headers } = request
        const seen = { method, url, headers, body: Buffer.concat(chunks).toString('latin1') }
        this.seen.push(seen)
        const reply = this.reply(seen)
        if (reply === 'hang') {
          response.on('close', () => this.abandoned++)
          return
        }
        if (reply === 'reset') request.socket.destroy()
        else response.writeHead(reply.status, reply.headers).end(reply.body)
      })
    })
  }

  accept({ method }: SeenRequest, ufrag = `or${++this.#sessions}`.padEnd(6, '0')): OriginReply {
    if (method !== 'POST') return { status: 200 }
    const location = `/rtc/v1/whip/?action=delete&token=t${this.#sessions}&session=${ufrag}`
    return {
      status: 201,
      headers: { 'content-type': 'application/sdp', location, etag: `"${ufrag}"` },
      body: answerSdp(ufrag, this.udp.port),
    }
  }

  /** Resolves when the last request was of this method. */
  async sees(method: string): Promise<SeenRequest | undefined> {
    await until(() => this.seen.at(-1)?.method === method, `a ${method} at the origin`)
    return this.seen.at(-1)
  }

  announcement(server = `server-${this.apiPort}`): OriginAnnouncement {
    return {
      ip: this.address,
      server,
      service: 'run',
      pid: '1',
      rtmp: [1935],
      http: [],
      api: [this.apiPort],
      srt: [],
      rtc: [this.udp.port],
    }
  }

  /** The same as an origin of another make, with paths of its own; it answers with the address that it has. */
  foreign(
    paths: Readonly<Partial<Record<Need, string>>>,
    { scheme = 'http', host = this.address }: { readonly scheme?: string; readonly host?: string } = {},
  ): OriginAnnouncement {
    const authority = `${scheme}://${host.includes(':') ? `[${host}]` : host}:${this.apiPort}`
    const urls = Object.fromEntries(Object.entries(paths).map(([need, path]) => [need, authority + path]))
    const none = { rtmp: [], http: [], api: [], srt: [], rtc: [] }
    this.reply = (request) => {
      const reply = this.accept(request)
      if (typeof reply === 'string' || request.method !== 'POST') return reply
      const ufrag = `or${this.#sessions}`.padEnd(6, '0')
      return { ...reply, body: answerSdp(ufrag, this.udp.port, originPwd, this.udp.address) }
    }
    return { ...this.announcement(), ...none, ip: host, kind: 'custom', urls }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
    await this.udp.close().catch(() => {})
  }
}

/** The service behind an HTTP server on loopback, with the real datapath and the memory store. */
export class TestGateway {
  readonly service: WebRtcService
  readonly store: MemoryBalancerStore
  readonly datapath: NodeDatapath
  readonly registry: Registry = new Registry()
  readonly #server: Server

  static async start(options: Partial<WebRtcOptions> = {}): Promise<TestGateway> {
    const gateway = new TestGateway(options)
    await gateway.datapath.start()
    await gateway.service.start()
    gateway.#server.listen(0, '127.0.0.1')
    await once(gateway.#server, 'listening')
    onTestFinished(() => gateway.close())
    return gateway
  }

  private constructor(options: Partial<WebRtcOptions>) {
    this.datapath = new NodeDatapath()
    this.store = new MemoryBalancerStore()
    this.service = new WebRtcService({
      datapath: this.datapath,
      balancer: this.store,
      sessionStore: this.store,
      streamKeyOf: (request) => streamKeyOfHttp(request, { keys: 'normal', vhosts: [] }),
      logger: silentLogger(),
      registry: this.registry,
      origins: this.store,
      mediaListen: [{ addresses: ['127.0.0.1', '127.0.0.2'], port: 0 }],
      ...options,
    })
    this.#server = createServer((request, response) => {
      const [path = ''] = (request.url ?? '').split('?')
      if (this.service.matches(path)) void this.service.handle(request, response)
      else response.writeHead(418).end()
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The first media address, where clients send. */
  get media(): { readonly address: string; readonly port: number } {
    return this.mediaAt('127.0.0.1')
  }

  mediaAt(address: string): { readonly address: string; readonly port: number } {
    const found = this.service.mediaAddresses.find((local) => local.address === address)
    if (found === undefined) throw new Error(`media is not heard on ${address}`)
    return { address: found.address, port: found.port }
  }

  post(path: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
    const all = { 'content-type': 'application/sdp', ...headers }
    return fetch(this.url + path, { method: 'POST', body, headers: all })
  }

  /** Opens a session as a client does, and fails unless that works. */
  async open(clientUfrag: string, path = '/live/s/whip'): Promise<OpenSession> {
    const response = await this.post(path, offerSdp(clientUfrag))
    const answer = await response.text()
    if (response.status !== 201) throw new Error(`offer refused: ${response.status} ${answer}`)
    const ufrag = /a=ice-ufrag:(.*)\r/.exec(answer)?.[1] ?? ''
    return {
      username: `${ufrag}:${clientUfrag}`,
      location: this.url + (response.headers.get('location') ?? ''),
      answer,
    }
  }

  /** The value of a metric line, such as `sluice_webrtc_sessions{role="play"}`. */
  async metric(line: string): Promise<number> {
    const text = await this.registry.metrics()
    const found = text.split('\n').find((one) => one.startsWith(`${line} `))
    return Number(found?.slice(line.length) ?? Number.NaN)
  }

  async close(): Promise<void> {
    await this.service.close()
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
    await this.datapath.close()
  }
}

export interface OpenSession {
  readonly username: string
  readonly location: string
  readonly answer: string
}

/** A STUN check as a client sends it. */
export function check(
  username: string,
  { pwd = originPwd, nominate = false }: { readonly pwd?: string; readonly nominate?: boolean } = {},
): Buffer {
  const writer = new StunWriter(StunMethod.binding, StunClass.request, randomBytes(12))
    .text(StunAttribute.username, username)
    .u32(StunAttribute.priority, 1)
  if (nominate) writer.attribute(StunAttribute.useCandidate, new Uint8Array())
  return writer.integrity(Buffer.from(pwd)).fingerprint().finish()
}

/** A UDP client that is closed with the test. */
export async function openClient(address = '127.0.0.1'): Promise<UdpPeer> {
  const client = await UdpPeer.open(address)
  onTestFinished(() => client.close())
  return client
}
