import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { MemoryBalancerStore, streamKeyOfSrt } from '../../../mechanisms/balancer/index.ts'
import { createDatapath, type Datapath, type Remote } from '../../../mechanisms/datapath/index.ts'
import { UdpPeer, until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { Registry, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import {
  ControlWord,
  decodeHandshake,
  encodeHandshake,
  type Handshake,
  HandshakeType,
  inductionAnswer,
  inductionOf,
  rejection,
  rejectReasonOf,
  withStreamId,
} from '../../../protocols/srt/index.ts'
import { bytesOf, captured } from '../../../protocols/srt/srt.testkit.ts'
import type { SrtServiceOptions } from './options.ts'
import { SrtService } from './service.ts'

export type EngineName = 'node' | 'native'

/** What an origin does with a conclusion: a number is a reason to refuse. */
export type OriginManner = 'accept' | 'silent' | 'silent-after-induction' | number

/** A media server as the gateway sees one: a UDP port that does the listener's part of handshakes. */
export class FakeOrigin {
  manner: OriginManner = 'accept'
  /** The socket id that the next caller gets. */
  nextSocketId = 0x1000
  /** Distinct conclusions, the oldest first; each as its caller's first one came. */
  readonly conclusions: { readonly handshake: Handshake; readonly from: Remote }[] = []
  /** All datagrams that are no handshakes. */
  readonly received: { readonly bytes: Buffer; readonly from: Remote }[] = []
  inductions = 0
  /** Handshakes that it did not answer. */
  lost = 0
  readonly port: number
  readonly #socket: Socket
  readonly #socketIds = new Map<string, number>()
  #isOpen = true

  static async start(): Promise<FakeOrigin> {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const origin = new FakeOrigin(socket)
    onTestFinished(() => origin.close())
    return origin
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    this.port = socket.address().port
    socket.on('message', (bytes, { address, port }) => this.#onMessage(bytes, { address, port }))
  }

  /** How it registers. */
  get announcement(): Parameters<MemoryBalancerStore['announce']>[0] {
    const none = { rtmp: [], http: [], api: [], rtc: [] }
    return {
      ip: '127.0.0.1',
      server: `origin-${this.port}`,
      service: 'run',
      pid: '1',
      ...none,
      srt: [this.port],
    }
  }

  send(bytes: Uint8Array, to: Remote): void {
    this.#socket.send(bytes, to.port, to.address)
  }

  /** The next datagram that is no handshake. */
  async next(): Promise<{ readonly bytes: Buffer; readonly from: Remote }> {
    await until(() => this.received.length > 0, 'a datagram at the origin')
    return this.received.shift() as { bytes: Buffer; from: Remote }
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }

  #onMessage(bytes: Buffer, from: Remote): void {
    const handshake = decodeHandshake(bytes)
    if (typeof handshake === 'string') {
      this.received.push({ bytes, from })
      return
    }
    const isInduction = handshake.type === HandshakeType.induction
    if (isInduction) this.inductions++
    if (this.manner === 'silent' || (this.manner === 'silent-after-induction' && !isInduction)) {
      this.lost++
      return
    }
    this.send(
      encodeHandshake(isInduction ? this.#induced(handshake) : this.#concluded(handshake, from)),
      from,
    )
  }

  #induced(induction: Handshake): Handshake {
    return inductionAnswer(induction, { cookie: 0x0badf00d, address: '10.9.8.7', timestampUs: 1 })
  }

  #concluded(handshake: Handshake, from: Remote): Handshake {
    const key = `${from.port} ${handshake.socketId}`
    let socketId = this.#socketIds.get(key)
    if (socketId === undefined) {
      socketId = this.nextSocketId++
      this.#socketIds.set(key, socketId)
      this.conclusions.push({ handshake, from })
    }
    if (handshake.cookie !== 0x0badf00d) return rejection(handshake, 4)
    if (typeof this.manner === 'number') return rejection(handshake, this.manner)
    // An answer has the origin's word for our inner address.
    const peerIp = Buffer.from('07080910'.padEnd(32, '0'), 'hex')
    return { ...handshake, destination: handshake.socketId, socketId, peerIp }
  }
}

/** How a caller calls. */
export interface CallOptions {
  readonly streamId?: string
  readonly socketId?: number
  readonly initialSequence?: number
  readonly version?: number
}

const template = decodeHandshake(bytesOf(captured.conclusion)) as Handshake

/** A caller: a UDP port that does the caller's part of handshakes. */
export class TestCaller {
  readonly udp: UdpPeer
  readonly #gateway: Remote

  /** From this address, to the first one of the gateway unless another is named. */
  static async open(
    gateway: TestGateway,
    address = '127.0.0.1',
    to: Remote = gateway.address,
  ): Promise<TestCaller> {
    const udp = await UdpPeer.open(address)
    onTestFinished(() => udp.close())
    return new TestCaller(udp, to)
  }

  private constructor(udp: UdpPeer, gateway: Remote) {
    this.udp = udp
    this.#gateway = gateway
  }

  /** A conclusion without its cookie. */
  conclusion(options: CallOptions = {}): Handshake {
    const {
      streamId = '#!::r=live/s,m=publish',
      socketId = 0x77,
      initialSequence = 42,
      version = 5,
    } = options
    return withStreamId({ ...template, cookie: 0, socketId, initialSequence, version }, streamId)
  }

  /** The cookie that this caller is given. */
  async cookie(conclusion: Handshake): Promise<number> {
    await this.send(encodeHandshake(inductionOf(conclusion)))
    const answer = await this.handshake()
    if (answer.type !== HandshakeType.induction) throw new Error(`no induction: ${answer.type}`)
    return answer.cookie
  }

  /** Gets a cookie and sends the conclusion; the answer is `handshake`'s. */
  async conclude(options: CallOptions = {}): Promise<Handshake> {
    const conclusion = this.conclusion(options)
    const concluded = { ...conclusion, cookie: await this.cookie(conclusion) }
    await this.send(encodeHandshake(concluded))
    return concluded
  }

  /** Calls, and gives the answer to the conclusion. */
  async call(options: CallOptions = {}): Promise<Handshake> {
    await this.conclude(options)
    return await this.handshake()
  }

  /** Calls and gives the reason of the refusal; undefined when there is none. */
  async refusal(options: CallOptions = {}): Promise<number | undefined> {
    return rejectReasonOf(await this.call(options))
  }

  /** The next datagram, which is a handshake. */
  async handshake(): Promise<Handshake> {
    const { bytes } = await this.udp.next()
    const handshake = decodeHandshake(bytes)
    if (typeof handshake === 'string') throw new Error(`${handshake}: ${bytes.toString('hex')}`)
    return handshake
  }

  send(bytes: Uint8Array): Promise<void> {
    return this.udp.send(bytes, this.#gateway)
  }

  async next(): Promise<Buffer> {
    return (await this.udp.next()).bytes
  }
}

/** A data packet for a socket. */
export function data(destination: number, text: string): Buffer {
  const header = Buffer.alloc(16)
  header.writeUInt32BE(1, 0)
  header.writeUInt32BE(destination, 12)
  return Buffer.concat([header, Buffer.from(text)])
}

/** The text of a data packet; `shutdown` for one of these. */
export function textOf(packet: Buffer): string {
  return packet.readUInt32BE(0) === ControlWord.shutdown ? 'shutdown' : packet.toString('latin1', 16)
}

/** The service on a real datapath, under a clock that is moved by hand, with the memory store. */
export class TestGateway {
  readonly clock: ManualClock = new ManualClock()
  readonly service: SrtService
  readonly store: MemoryBalancerStore
  readonly datapath: Datapath
  readonly registry: Registry = new Registry()

  static async start(engine: EngineName, options: Partial<SrtServiceOptions> = {}): Promise<TestGateway> {
    const gateway = new TestGateway(engine, options)
    await gateway.datapath.start()
    onTestFinished(() => gateway.close())
    await gateway.service.start()
    return gateway
  }

  private constructor(engine: EngineName, options: Partial<SrtServiceOptions>) {
    this.datapath = createDatapath({ engine })
    this.store = new MemoryBalancerStore({ clock: this.clock, random: () => 0 })
    this.service = new SrtService({
      listen: [{ host: '127.0.0.1', port: 0 }],
      datapath: this.datapath,
      balancer: this.store,
      streamKeyOf: ({ host, resource }) => streamKeyOfSrt(host, resource, { keys: 'normal', vhosts: [] }),
      logger: silentLogger(),
      registry: this.registry,
      clock: this.clock,
      ...options,
    })
  }

  /** Where callers send. */
  get address(): Remote {
    const [first] = this.service.addresses
    if (first === undefined) throw new Error('the gateway does not listen')
    return first
  }

  async add(...origins: readonly FakeOrigin[]): Promise<void> {
    for (const origin of origins) await this.store.announce(origin.announcement)
  }

  /** The value of a metric line, such as `sluice_srt_sessions{role="play"}`. */
  async metric(line: string): Promise<number> {
    const text = await this.registry.metrics()
    const found = text.split('\n').find((one) => one.startsWith(`${line} `))
    return Number(found?.slice(line.length) ?? Number.NaN)
  }

  async close(): Promise<void> {
    await this.service.close()
    await this.datapath.close()
  }
}
