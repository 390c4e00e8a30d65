import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import type { Arrival, Datapath, Endpoint, Remote } from '../../../mechanisms/datapath/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { UdpAddress, UdpPacket } from '../../../protocols/frp/index.ts'
import { MessageChannel } from '../message-channel.ts'
import { type Idleable, IdleTable } from './idle-table.ts'
import type { Agreed } from './proxy-service.ts'
import { udpProxyHeader } from './proxy-header.ts'
import { QuietLog } from './quiet-log.ts'

export interface UdpRelayOptions {
  /** With the proxy's layers upon it. */
  readonly work: ByteStream
  readonly agreed: Pick<Agreed, 'wireVersion' | 'udpPacketCodec'>
  /** The local service. */
  readonly service: Remote
  readonly proxyProtocolVersion: '' | 'v1' | 'v2'
  /** Users with a socket of their own; for one more, the one that was silent longest loses it. @defaultValue 1024 */
  readonly maxUsers?: number
  readonly datapath: Datapath
  readonly clock: Clock
  readonly log: Logger
  readonly onClose: () => void
}

const defaultMaxUsers = 1024
const idleMs = 30_000
const pingMs = 30_000
/** What waits for a user's socket to open. */
const maxQueued = 64

/** A user, and the socket through which the service knows him. */
interface User extends Idleable {
  readonly address: UdpAddress
  endpoint: Endpoint | undefined
  /** Until the socket is open; ours. */
  queued: Uint8Array[] | undefined
  isGone: boolean
}

/** Datagrams of one work connection of a udp or sudp proxy, each user with a socket of his own (reference §10). */
export class UdpRelay {
  readonly #options: UdpRelayOptions
  readonly #channel: MessageChannel
  readonly #users: IdleTable<User>
  readonly #losses: QuietLog
  #ping: Timer | undefined

  constructor(options: UdpRelayOptions) {
    const { work, agreed, clock, log, maxUsers = defaultMaxUsers } = options
    this.#options = options
    this.#channel = new MessageChannel(work, agreed.wireVersion, { udpPacketCodec: agreed.udpPacketCodec })
    this.#users = new IdleTable({
      maxEntries: maxUsers,
      idleMs,
      clock,
      onGone: (user) => this.#forget(user),
    })
    this.#losses = new QuietLog(clock, (fields, message) => log.warn(fields, message))
  }

  start(): void {
    this.#channel.onMessage = (message) => {
      // Whatever else there is only keeps the connection alive.
      if (message.name === 'UDPPacket') this.#toService(message.body)
    }
    this.#channel.onClose = () => this.#end()
    this.#schedulePing()
    this.#channel.resume()
  }

  close(): void {
    this.#channel.destroy()
  }

  #end(): void {
    this.#ping?.cancel()
    this.#users.close()
    this.#options.onClose()
  }

  #schedulePing(): void {
    this.#ping = this.#options.clock.after(pingMs, () => {
      this.#schedulePing()
      this.#channel.send('Ping', {})
    })
  }

  #toService({ content, remote }: UdpPacket): void {
    if (remote === undefined) return
    const { clock, datapath, service } = this.#options
    const key = `${remote.IP} ${remote.Port}`
    const user = this.#users.get(key)
    if (user === undefined) {
      this.#admit(key, remote, content)
      return
    }
    user.lastMs = clock.nowMs()
    if (user.endpoint !== undefined) datapath.send(user.endpoint.id, service, content)
    else if (user.queued !== undefined && user.queued.length < maxQueued)
      user.queued.push(Buffer.from(content))
  }

  #admit(key: string, { IP, Port, Zone }: UdpAddress, content: Uint8Array): void {
    const user: User = {
      address: { IP, Port, Zone },
      endpoint: undefined,
      queued: [this.#firstDatagram({ address: IP, port: Port }, content)],
      isGone: false,
      lastMs: this.#options.clock.nowMs(),
    }
    this.#users.add(key, user)
    void this.#openSocket(key, user)
  }

  /** A copy, behind a PROXY protocol header if one is wanted. */
  #firstDatagram(user: Remote, content: Uint8Array): Uint8Array {
    const { proxyProtocolVersion, service } = this.#options
    if (proxyProtocolVersion === '') return Buffer.from(content)
    try {
      return Buffer.concat([udpProxyHeader(proxyProtocolVersion, user, service), content])
    } catch {
      // The server names a user by something else than an IP address.
      return Buffer.from(content)
    }
  }

  /** Never rejects. */
  async #openSocket(key: string, user: User): Promise<void> {
    const { datapath, service } = this.#options
    try {
      // The wildcard is then the one address from which the system reaches the service.
      const addresses = [service.address.includes(':') ? '::' : '0.0.0.0']
      const endpoint = await datapath.openEndpoint(
        { addresses, port: 0, remote: service, deliver: true },
        (arrival) => this.#toUser(user, arrival),
      )
      if (user.isGone) {
        datapath.closeEndpoint(endpoint.id)
        return
      }
      user.endpoint = endpoint
      for (const content of user.queued ?? []) datapath.send(endpoint.id, service, content)
      user.queued = undefined
    } catch (error) {
      this.#losses.note({ error: errorMessage(error) }, 'no socket for a udp user')
      this.#users.delete(key)
    }
  }

  #toUser(user: User, arrival: Arrival): void {
    if (arrival.kind !== 'data' || user.isGone) return
    user.lastMs = this.#options.clock.nowMs()
    try {
      // Dropped when the server does not read: datagrams may be.
      this.#channel.sendDatagram({ content: arrival.bytes, remote: user.address })
    } catch (error) {
      this.#losses.note(
        { bytes: arrival.bytes.length, error: errorMessage(error) },
        'a datagram of the service is too long for a message',
      )
    }
  }

  #forget(user: User): void {
    user.isGone = true
    user.queued = undefined
    if (user.endpoint !== undefined) this.#options.datapath.closeEndpoint(user.endpoint.id)
    user.endpoint = undefined
  }
}
