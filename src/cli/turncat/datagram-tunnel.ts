import type { TransportAddress } from '../../protocols/stun/index.ts'
import { AddressFamily } from '../../protocols/turn/index.ts'
import { ControlLink, type ControlEvent, type ControlLinkOptions, refusalOf } from './control-link.ts'
import type { TurncatError } from './errors.ts'
import { maxBytesInTheWay } from './link.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'

/** A tunnel to a UDP peer: an allocation with one channel (RFC 8656). */
export class DatagramTunnel implements Tunnel {
  readonly pieceBytes: number = pieceBytes
  readonly #options: ControlLinkOptions
  readonly #peer: TransportAddress
  readonly #handlers: TunnelHandlers
  readonly #control: ControlLink
  /** Given before the channel was there. */
  #waiting: Uint8Array[] = []
  #isBound = false
  #isUnreachable = false
  #isEnded = false
  #closed: Promise<void> | undefined
  #dropped = 0

  constructor(options: ControlLinkOptions, peer: TransportAddress, handlers: TunnelHandlers) {
    this.#options = options
    this.#peer = peer
    this.#handlers = handlers
    const isIpv6 = peer.address.includes(':')
    this.#control = new ControlLink(
      isIpv6 ? { ...options, client: { ...options.client, family: AddressFamily.ipv6 } } : options,
      {
        onEvent: (event) => this.#on(event),
        onDrain: () => {
          if (this.#isBound) handlers.onReady()
        },
        onEnd: (error) => this.#end(error),
      },
    )
  }

  get isDrained(): boolean {
    return this.#waiting.length === 0
  }

  open(): void {
    this.#control.open((client, nowMs) => client.allocate(nowMs))
  }

  send(bytes: Uint8Array): boolean {
    if (this.#isBound && this.#control.queuedBytes <= maxBytesInTheWay)
      return this.#control.act((client) => client.send(this.#peer, bytes))
    if (!this.#isBound && this.#waiting.length < maxWaiting) this.#waiting.push(Uint8Array.from(bytes))
    else this.#dropped++
    return false
  }

  // Datagrams that nobody reads are lost in time; there is nothing that would slow a peer down.
  pause(): void {}
  resume(): void {}
  endSending(): void {}

  close(): Promise<void> {
    this.#closed ??= this.#release()
    return this.#closed
  }

  async #release(): Promise<void> {
    this.#isEnded = true
    await this.#control.release()
    this.#options.logger.info({ dropped: this.#dropped }, 'tunnel closed')
  }

  #on(event: ControlEvent): void {
    if (this.#isEnded) return
    const { logger } = this.#options
    switch (event.kind) {
      case 'allocated':
        logger.info({ relayed: event.relayed, mapped: event.mapped }, 'allocated')
        this.#control.act((client, nowMs) => client.bind(this.#peer, nowMs))
        return
      case 'bound':
        logger.debug({ channel: event.channel, peer: event.peer }, 'channel bound')
        this.#bound()
        return
      case 'refreshed':
        logger.debug({ lifetimeSeconds: event.lifetimeSeconds }, 'refreshed')
        return
      case 'data':
        // The channel's permission lets in all ports of the peer's address.
        if (event.peer.address === this.#peer.address && event.peer.port === this.#peer.port)
          this.#handlers.onData(event.bytes)
        return
      case 'icmp':
        // Once: it can come for each datagram.
        if (!this.#isUnreachable) logger.warn({ report: event.report }, 'the peer cannot be reached')
        this.#isUnreachable = true
        return
      case 'failed':
        this.#end(refusalOf(event))
        return
      case 'released':
      case 'permitted':
      case 'connected':
      case 'attempted':
      case 'joined':
        return
      default:
        event satisfies never
    }
  }

  /** The first time, and each time it was renewed. */
  #bound(): void {
    if (this.#isBound) return
    this.#isBound = true
    const waiting = this.#waiting
    this.#waiting = []
    for (const bytes of waiting) this.send(bytes)
    this.#handlers.onReady()
  }

  #end(error: TurncatError): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#handlers.onEnd(error)
  }
}

/**
 * Of a stream, so many bytes go into a datagram: with TURN's and IP's headers around them they pass every path unfragmented
 * (RFC 8200 §5).
 */
const pieceBytes = 1200

/** Datagrams that wait for the channel; those behind them are dropped. */
const maxWaiting = 64
