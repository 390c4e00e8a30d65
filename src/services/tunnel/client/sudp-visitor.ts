import type { Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Arrival, Endpoint, Remote } from '../../../mechanisms/datapath/index.ts'
import type { VisitorConfig } from '../../../mechanisms/frp-config/index.ts'
import { endpointAddresses } from '../../../mechanisms/net/index.ts'
import type { UdpAddress, UdpPacket } from '../../../protocols/frp/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import { MessageChannel } from '../message-channel.ts'
import { type Idleable, IdleTable } from './idle-table.ts'
import { QuietLog } from './quiet-log.ts'
import type { Visitor, VisitorParts } from './visitor.ts'
import { openVisitorConnection } from './visitor-connection.ts'

/** A connection on which nothing came for so long is given up; the other client pings every 30 s (reference §11). */
const silenceMs = 60_000
/** After a failure the next datagram may try again so much later. */
const retryMs = 1000
/** A user who sent nothing for so long is answered no more. */
const userIdleMs = 60_000
const maxUsers = 1024
/** What waits for the connection, in datagrams. */
const maxQueued = 256

interface User extends Idleable {
  readonly remote: Remote
  /** The address that he asked, so that the answer comes from there. */
  local: number
}

/** Listens on a local UDP port and carries its datagrams to a sudp proxy, on one connection that lives while there are any. */
export class SudpVisitor implements Visitor {
  readonly config: VisitorConfig
  readonly #parts: VisitorParts
  readonly #users: IdleTable<User>
  readonly #failures: QuietLog
  #endpoint: Endpoint | undefined
  #channel: MessageChannel | undefined
  #state: 'idle' | 'opening' | 'open' | 'closed' = 'idle'
  #queued: UdpPacket[] = []
  #retryAtMs = Number.NEGATIVE_INFINITY
  #heardMs = 0
  #watch: Timer | undefined

  constructor(config: VisitorConfig, parts: VisitorParts) {
    this.config = config
    this.#parts = parts
    const { clock, log } = parts
    this.#users = new IdleTable({ maxEntries: maxUsers, idleMs: userIdleMs, clock, onGone: ignore })
    this.#failures = new QuietLog(clock, (fields, message) => log.warn(fields, message))
  }

  /** @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE; TunnelError TUNNEL_BAD_OPTION for a port that none is */
  async start(): Promise<void> {
    const { bindAddr, bindPort, name } = this.config
    if (bindPort <= 0) {
      throw new TunnelError(TunnelErrorCode.badOption, `sudp visitor "${name}" needs a bindPort`, {
        side: 'self',
      })
    }
    const addresses = await endpointAddresses(bindAddr)
    const { datapath } = this.#parts
    const endpoint = await datapath.openEndpoint({ addresses, port: bindPort, deliver: true }, (arrival) =>
      this.#fromUser(arrival),
    )
    if (this.#state === 'closed') datapath.closeEndpoint(endpoint.id)
    else this.#endpoint = endpoint
  }

  accept(): boolean {
    return false
  }

  close(): Promise<void> {
    this.#state = 'closed'
    this.#queued = []
    this.#channel?.destroy()
    this.#users.close()
    if (this.#endpoint !== undefined) this.#parts.datapath.closeEndpoint(this.#endpoint.id)
    this.#endpoint = undefined
    return Promise.resolve()
  }

  #fromUser({ kind, address, port, local, bytes }: Arrival): void {
    if (kind !== 'data' || this.#state === 'closed') return
    const nowMs = this.#parts.clock.nowMs()
    const key = `${address} ${port}`
    const user = this.#users.get(key)
    if (user === undefined) {
      this.#users.add(key, { remote: { address, port }, local, lastMs: nowMs })
    } else {
      user.lastMs = nowMs
      user.local = local
    }
    const remote = { IP: address, Port: port, Zone: '' }
    if (this.#channel !== undefined) {
      this.#send(this.#channel, { content: bytes, remote })
    } else if (this.#state === 'opening' || nowMs >= this.#retryAtMs) {
      if (this.#queued.length < maxQueued) this.#queued.push({ content: Buffer.from(bytes), remote })
      if (this.#state === 'idle') void this.#open()
    }
  }

  #send(channel: MessageChannel, packet: UdpPacket): void {
    try {
      // Dropped when the server does not read: datagrams may be.
      channel.sendDatagram(packet)
    } catch (error) {
      const { length } = packet.content
      this.#failures.note(
        { bytes: length, error: errorMessage(error) },
        'a datagram is too long for a message',
      )
    }
  }

  /** Never rejects. */
  async #open(): Promise<void> {
    const { user, server: current, clock } = this.#parts
    this.#state = 'opening'
    try {
      const server = current()
      if (server === undefined) throw new Error('the client is not logged in')
      const stream = await openVisitorConnection(this.config, user, server, clock)
      // It may have been closed meanwhile, which the compiler cannot know.
      if ((this.#state as string) === 'closed') stream.destroy()
      else
        this.#begin(new MessageChannel(stream, server.wireVersion, { udpPacketCodec: server.udpPacketCodec }))
    } catch (error) {
      this.#failures.note({ error: errorMessage(error) }, 'no connection for a visitor')
      this.#rest()
    }
  }

  #begin(channel: MessageChannel): void {
    const { clock } = this.#parts
    this.#state = 'open'
    this.#channel = channel
    channel.onMessage = (message) => {
      this.#heardMs = clock.nowMs()
      if (message.name === 'UDPPacket') this.#toUser(message.body)
    }
    channel.onClose = () => {
      this.#watch?.cancel()
      this.#channel = undefined
      this.#rest()
    }
    this.#heardMs = clock.nowMs()
    this.#watchSilence(channel, silenceMs)
    for (const packet of this.#queued) this.#send(channel, packet)
    this.#queued = []
    channel.resume()
  }

  #watchSilence(channel: MessageChannel, delayMs: number): void {
    const { clock } = this.#parts
    this.#watch = clock.after(delayMs, () => {
      const leftMs = this.#heardMs + silenceMs - clock.nowMs()
      if (leftMs > 0) this.#watchSilence(channel, leftMs)
      else channel.destroy()
    })
  }

  /** Until the next datagram. */
  #rest(): void {
    this.#queued = []
    this.#retryAtMs = this.#parts.clock.nowMs() + retryMs
    if (this.#state !== 'closed') this.#state = 'idle'
  }

  #toUser({ content, remote }: UdpPacket): void {
    const user = this.#userOf(remote)
    if (user === undefined || this.#endpoint === undefined) return
    this.#parts.datapath.send(this.#endpoint.id, user.remote, content, { local: user.local })
  }

  /** Nobody else than a user is sent anything, whatever the other end says. */
  #userOf(remote: UdpAddress | undefined): User | undefined {
    return remote === undefined ? undefined : this.#users.get(`${remote.IP} ${remote.Port}`)
  }
}

function ignore(): void {}
