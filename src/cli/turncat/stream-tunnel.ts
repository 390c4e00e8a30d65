import type { TransportAddress } from '../../protocols/stun/index.ts'
import { AddressFamily } from '../../protocols/turn/index.ts'
import { ControlLink, type ControlEvent, type ControlLinkOptions, refusalOf } from './control-link.ts'
import type { TurncatError } from './errors.ts'
import type { Link } from './link.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'

/**
 * A tunnel to a TCP peer (RFC 6062): one connection to the server holds the allocation, a second one carries the bytes.
 * Some servers, coturn for one, know no half of an end: they close the peer's connection when ours ends.
 */
export class StreamTunnel implements Tunnel {
  readonly pieceBytes = undefined
  readonly #options: ControlLinkOptions
  readonly #peer: TransportAddress
  readonly #handlers: TunnelHandlers
  readonly #control: ControlLink
  readonly #carrier: ControlLink
  /** The carrier's connection once it is the peer's. */
  #joined: Link | undefined
  /** Given before; the giver was told to wait. */
  #waiting: Uint8Array[] = []
  #isFull = false
  #isEnded = false
  #closed: Promise<void> | undefined

  constructor(options: ControlLinkOptions, peer: TransportAddress, handlers: TunnelHandlers) {
    const family = peer.address.includes(':') ? { family: AddressFamily.ipv6 } : {}
    this.#options = { ...options, client: { ...options.client, relayTransport: 'tcp', ...family } }
    this.#peer = peer
    this.#handlers = handlers
    this.#control = new ControlLink(this.#options, {
      onEvent: (event) => this.#on(event),
      onDrain: () => undefined,
      onEnd: (error) => this.#end(error),
    })
    this.#carrier = new ControlLink(this.#options, {
      onEvent: (event) => this.#on(event),
      onDrain: () => {
        this.#isFull = false
        handlers.onReady()
      },
      // The peer has closed its connection, as it may.
      onEnd: (error) =>
        this.#end(this.#joined !== undefined && error.cause === undefined ? undefined : error),
    })
  }

  get isDrained(): boolean {
    return this.#joined !== undefined && !this.#isFull
  }

  open(): void {
    this.#control.open((client, nowMs) => client.allocate(nowMs))
  }

  send(bytes: Uint8Array): boolean {
    if (this.#isEnded) return true
    if (this.#joined === undefined) {
      this.#waiting.push(Uint8Array.from(bytes))
      return false
    }
    this.#isFull = !this.#joined.send(bytes)
    return !this.#isFull
  }

  pause(): void {
    this.#joined?.pause()
  }

  resume(): void {
    this.#joined?.resume()
  }

  endSending(): void {
    this.#joined?.endSending()
  }

  close(): Promise<void> {
    this.#closed ??= this.#release()
    return this.#closed
  }

  async #release(): Promise<void> {
    this.#isEnded = true
    this.#carrier.close()
    await this.#control.release()
    this.#options.logger.info('tunnel closed')
  }

  #on(event: ControlEvent): void {
    if (this.#isEnded) return
    const { logger } = this.#options
    switch (event.kind) {
      case 'allocated':
        logger.info({ relayed: event.relayed, mapped: event.mapped }, 'allocated')
        this.#control.act((client, nowMs) => client.connect(this.#peer, nowMs))
        return
      case 'connected':
        logger.debug({ connectionId: event.connectionId, peer: event.peer }, 'connected to the peer')
        this.#carrier.open(
          (client, nowMs) => client.connectionBind(event.connectionId, nowMs),
          this.#control.clientForConnection(),
        )
        return
      case 'joined':
        this.#join(event.rest)
        return
      case 'refreshed':
        logger.debug({ lifetimeSeconds: event.lifetimeSeconds }, 'refreshed')
        return
      case 'failed':
        this.#end(refusalOf(event))
        return
      case 'released':
      case 'permitted':
      case 'bound':
      case 'data':
      case 'icmp':
      case 'attempted':
        return
      default:
        event satisfies never
    }
  }

  #join(rest: Uint8Array): void {
    this.#joined = this.#carrier.takeOver((bytes) => this.#handlers.onData(bytes))
    const waiting = this.#waiting
    this.#waiting = []
    for (const bytes of waiting) this.send(bytes)
    if (rest.length > 0) this.#handlers.onData(rest)
    if (!this.#isFull) this.#handlers.onReady()
  }

  #end(error: TurncatError | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#handlers.onEnd(error)
  }
}
