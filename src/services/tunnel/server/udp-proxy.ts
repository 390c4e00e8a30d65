import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Arrival, Datapath, Endpoint } from '../../../mechanisms/datapath/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import {
  encodeMessage,
  type UdpPacket,
  type UdpPacketCodec,
  type WireVersion,
} from '../../../protocols/frp/index.ts'
import { MessageChannel } from '../message-channel.ts'
import type { ProxyTraffic } from '../statistics/contract.ts'
import type { TunnelMetrics } from './tunnel-metrics.ts'
import { UdpUsers } from './udp-users.ts'
import type { WorkPool } from './work-pool.ts'

export interface UdpProxyOptions {
  readonly proxyName: string
  readonly wireVersion: WireVersion
  /** What the client's hello agreed on. */
  readonly udpPacketCodec: UdpPacketCodec
  readonly pool: WorkPool
  readonly layers: (work: ByteStream) => ByteStream
  readonly traffic: ProxyTraffic
  readonly metrics: Pick<TunnelMetrics, 'udpDropped'>
  readonly datapath: Datapath
  readonly clock: Clock
  readonly logger: Logger
}

/** frpc knows its proxy so long after the answer at the latest, in milliseconds; a work connection before would be refused. */
const firstRequestMs = 500
/** After a work connection that could not be had, or was soon lost, the next one is asked for so much later, in milliseconds. */
const retryMs = 1000
/** A work connection without any message (the client pings every 30 s) is given up after so many milliseconds. */
const silenceMs = 60_000

/** As many datagrams wait for a work connection as frp lets wait, */
const mostWaiting = 1024
/** with no more bytes than a channel takes in one turn, also as messages in JSON. */
const mostWaitingBytes = 262_144

/** A udp proxy: datagrams of users as messages on one work connection, which is replaced when it breaks (reference §10). */
export class UdpProxy {
  readonly #options: UdpProxyOptions
  readonly #users: UdpUsers
  #endpoint: Endpoint | undefined
  #channel: MessageChannel | undefined
  #heardMs = 0
  #timer: Timer | undefined
  #stopWaiting: (() => void) | undefined
  /** What came while there is no channel. */
  #waiting: UdpPacket[] = []
  #waitingBytes = 0
  #hasToldLength = false
  #isClosed = false

  constructor(options: UdpProxyOptions) {
    this.#options = options
    this.#users = new UdpUsers(options.clock)
  }

  /**
   * Opens the port.
   * @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE
   */
  async listen(addresses: readonly string[], port: number): Promise<void> {
    const { datapath, clock } = this.#options
    this.#endpoint = await datapath.openEndpoint({ addresses, port, deliver: true }, (arrival) =>
      this.#fromUser(arrival),
    )
    this.#timer = clock.after(firstRequestMs, () => this.#connect())
  }

  close(): void {
    this.#isClosed = true
    this.#waiting = []
    this.#timer?.cancel()
    this.#stopWaiting?.()
    this.#channel?.destroy()
    if (this.#endpoint !== undefined) this.#options.datapath.closeEndpoint(this.#endpoint.id)
  }

  #connect(): void {
    const { pool, clock, logger } = this.#options
    this.#stopWaiting = pool.take((work, error) => {
      if (this.#isClosed) {
        work?.destroy()
      } else if (work === undefined) {
        logger.debug({ reason: error?.message }, 'no work connection for a udp proxy')
        this.#timer = clock.after(retryMs, () => this.#connect())
      } else {
        this.#start(work)
      }
    })
  }

  #start(work: ByteStream): void {
    const { wireVersion, udpPacketCodec, proxyName, layers, clock } = this.#options
    work.write(encodeMessage(wireVersion, 'StartWorkConn', { proxy_name: proxyName }))
    const channel = new MessageChannel(layers(work), wireVersion, { udpPacketCodec })
    channel.onMessage = (message) => {
      this.#heardMs = clock.nowMs()
      if (message.name === 'UDPPacket') this.#toUser(message.body)
    }
    const sinceMs = clock.nowMs()
    channel.onClose = () => {
      this.#timer?.cancel()
      this.#channel = undefined
      if (this.#isClosed) return
      // A client that closes each at once must not be asked for one after the other.
      if (clock.nowMs() - sinceMs >= retryMs) this.#connect()
      else this.#timer = clock.after(retryMs, () => this.#connect())
    }
    this.#channel = channel
    this.#heardMs = sinceMs
    this.#watchSilence(channel)
    channel.resume()
    const waiting = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    for (const packet of waiting) this.#send(channel, packet)
  }

  #watchSilence(channel: MessageChannel): void {
    const { clock } = this.#options
    const leftMs = this.#heardMs + silenceMs - clock.nowMs()
    if (leftMs <= 0) channel.destroy()
    else this.#timer = clock.after(leftMs, () => this.#watchSilence(channel))
  }

  #fromUser(arrival: Arrival): void {
    if (arrival.kind !== 'data') return
    const { address, port, bytes, local } = arrival
    this.#users.heard(address, port, local)
    const packet = { content: bytes, remote: { IP: address, Port: port, Zone: '' } }
    if (this.#channel !== undefined) this.#send(this.#channel, packet)
    else this.#keep(packet)
  }

  #keep(packet: UdpPacket): void {
    const bytes = this.#waitingBytes + packet.content.length
    if (this.#waiting.length >= mostWaiting || bytes > mostWaitingBytes) {
      this.#options.metrics.udpDropped('no-work-connection')
      return
    }
    this.#waitingBytes = bytes
    this.#waiting.push({ ...packet, content: Buffer.from(packet.content) })
  }

  #send(channel: MessageChannel, packet: UdpPacket): void {
    const { traffic, metrics, logger } = this.#options
    try {
      if (channel.sendDatagram(packet)) traffic.addIn(packet.content.length)
      else metrics.udpDropped('queue')
    } catch (error) {
      // Longer than a message may be; frp would cut it.
      metrics.udpDropped('length')
      if (!this.#hasToldLength) logger.warn({ reason: errorMessage(error) }, 'datagram too long, dropped')
      this.#hasToldLength = true
    }
  }

  #toUser({ content, remote }: UdpPacket): void {
    if (this.#endpoint === undefined || remote === undefined) return
    const { IP: address, Port: port } = remote
    const local = this.#users.localOf(address, port)
    if (local === undefined) return
    this.#options.traffic.addOut(content.length)
    this.#options.datapath.send(this.#endpoint.id, { address, port }, content, { local })
  }
}
