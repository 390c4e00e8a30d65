import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import {
  ALL_THREADS,
  type Arrival,
  type Datapath,
  type Endpoint,
  type FlowId,
  type Remote,
  STRANGER,
} from '../../../mechanisms/datapath/index.ts'
import type { Certificate } from '../../../mechanisms/net/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import type { ListenerState } from '../core/listener-state.ts'
import { StrangerBudget } from '../core/stranger-budget.ts'
import type { TurnCore } from '../core/turn-core.ts'
import { TurnError } from '../errors.ts'
import type { TurnLimits } from '../options.ts'
import { type DtlsCertificate, dtlsCertificate } from './dtls-certificate.ts'
import { DtlsClient } from './dtls-client.ts'
import { type ClientHello, readClientHello } from './dtls-client-hello.ts'
import { DtlsCookies } from './dtls-cookies.ts'
import { DtlsHandshake, type Established, type WeriftModule } from './dtls-handshake.ts'
import { type HandshakeMessage, HandshakeType, readHandshakeMessages } from './dtls-handshake-message.ts'
import { ContentType, type DtlsRecord, DtlsVersion, readRecords, writeRecord } from './dtls-record.ts'
import { SourceCounts } from '../core/source-counts.ts'
import type { BoundListener } from './listener.ts'

export interface DtlsListenerOptions {
  readonly state: ListenerState
  readonly core: Pick<TurnCore, 'receive' | 'disconnected' | 'allocationOf' | 'isServed'>
  readonly datapath: Datapath
  /** `maxConnections` and `maxConnectionsPerAddress` hold for the listener: handshakes and clients together. */
  readonly limits: () => TurnLimits
  readonly clock: Clock
  readonly random: (bytes: number) => Uint8Array
  readonly log: Logger
}

/** A handshake that has begun. */
interface Begun {
  readonly handshake: DtlsHandshake
  readonly address: string
  readonly deadline: Timer
}

/**
 * Serves clients by DTLS 1.2 (RFC 7350): one endpoint of the datapath, and a handshake of werift for each client that has
 * brought its cookie back. Nothing is kept of whom else.
 *
 * Once its handshake is complete a client has a flow of the engine, so that floods of strangers do not drown it. Its data is
 * encrypted here, so channels are not the engine's.
 */
export class DtlsListener implements BoundListener {
  readonly #options: DtlsListenerOptions
  readonly #cookies: DtlsCookies
  readonly #begun = new Map<string, Begun>()
  readonly #clients = new Map<string, DtlsClient>()
  readonly #byFlow = new Map<FlowId, DtlsClient>()
  readonly #handshakesOf = new SourceCounts()
  readonly #clientsOf = new SourceCounts()
  #certificate: DtlsCertificate
  #werift: WeriftModule | undefined
  #endpoint: Endpoint | undefined
  #budget: { readonly limits: TurnLimits; readonly of: StrangerBudget } | undefined
  #connections = 0

  /** @throws TURN_BAD_OPTION, TURN_UNSUPPORTED for certificates that cannot be served */
  constructor(options: DtlsListenerOptions) {
    this.#options = options
    this.#cookies = new DtlsCookies(options.random(16))
    const { certificate, name } = options.state.options
    if (certificate === undefined)
      throw new TurnError('TURN_BAD_OPTION', `listener "${name}": certificate: dtls needs one, with its key`)
    this.#certificate = this.#take(certificate)
  }

  get port(): number {
    return this.#endpoint?.port ?? 0
  }

  /** Handshakes that have begun. */
  get handshakes(): number {
    return this.#begun.size
  }

  /** Clients whose handshake is complete. */
  get clients(): number {
    return this.#clients.size
  }

  /** @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE; TURN_UNSUPPORTED without the package werift */
  async start(): Promise<void> {
    const { state, datapath } = this.#options
    this.#werift ??= await loadWerift()
    const { host, port } = state.options.listen
    this.#endpoint = await datapath.openEndpoint(
      {
        addresses: host === undefined ? ['0.0.0.0', '::'] : [host],
        port,
        threads: ALL_THREADS,
        separateLocals: true,
      },
      (arrival) => this.#receive(arrival),
    )
  }

  close(): Promise<void> {
    for (const tuple of [...this.#begun.keys()]) this.#cut(tuple)
    for (const client of [...this.#clients.values()]) client.disconnect()
    if (this.#endpoint !== undefined) this.#options.datapath.closeEndpoint(this.#endpoint.id)
    this.#endpoint = undefined
    return Promise.resolve()
  }

  /** @throws TURN_BAD_OPTION, TURN_UNSUPPORTED; then the one before stays */
  setCertificate(certificate: Certificate): void {
    this.#certificate = this.#take(certificate)
  }

  #take(certificate: Certificate): DtlsCertificate {
    const { state, log } = this.#options
    const taken = dtlsCertificate(certificate)
    if (taken.hasChain) {
      log.warn(
        { listener: state.options.name },
        'DTLS shows clients its own certificate only, not the authorities behind it',
      )
    }
    return taken
  }

  #receive(arrival: Arrival): void {
    // What was sent to a client came back: it is gone, or its network is; what it has expires by itself.
    if (arrival.kind === 'icmp') return
    const tuple = `${arrival.endpoint} ${arrival.local} ${arrival.address} ${arrival.port}`
    const client = arrival.flow === STRANGER ? this.#clients.get(tuple) : this.#byFlow.get(arrival.flow)
    const records = readRecords(arrival.bytes)
    // Of a stranger no more than one hello is looked at.
    const isStranger = client === undefined && !this.#begun.has(tuple)
    for (const record of isStranger ? records.slice(0, 1) : records) {
      if (record.epoch === 0) this.#receivePlain(record, tuple, arrival)
      else if (record.type === ContentType.handshake && this.#begun.has(tuple))
        this.#begun.get(tuple)?.handshake.receive(record)
      else client?.receive(record)
    }
  }

  /** A record that is not encrypted: of a handshake, or of nobody. Also a client may begin anew (RFC 6347 §4.2.8). */
  #receivePlain(record: DtlsRecord, tuple: string, arrival: Arrival): void {
    const begun = this.#begun.get(tuple)
    const [message] = record.type === ContentType.handshake ? (readHandshakeMessages(record.body) ?? []) : []
    if (message?.type !== HandshakeType.clientHello || begun?.handshake.isOf(message) === true)
      begun?.handshake.receive(record)
    else this.#receiveHello(record, message, tuple, arrival)
  }

  #receiveHello(record: DtlsRecord, message: HandshakeMessage, tuple: string, arrival: Arrival): void {
    const hello = readClientHello(message.body)
    if (hello === undefined) return
    const { clock } = this.#options
    if (this.#cookies.isGood(hello, arrival, clock.wallMs())) this.#begin(hello, message, tuple, arrival)
    else if (this.#mayAnswer(arrival))
      this.#send(arrival, this.#cookies.writeRequest(record, hello, arrival, clock.wallMs()))
  }

  #begin(hello: ClientHello, message: HandshakeMessage, tuple: string, arrival: Arrival): void {
    const { clock, log } = this.#options
    const { address, port, local } = arrival
    const to = { address, port, local }
    // Versions count down: 1.0 is feff, 1.2 is fefd.
    if (hello.version > DtlsVersion.v12) return this.#refuseVersion(to)
    this.#cut(tuple)
    if (this.#werift === undefined || !this.#hasRoom(address)) return
    if (this.#begun.size >= maxHandshakes) this.#cutOldest()
    const logFailure = (error: unknown): void =>
      log.debug({ code: errorCode(error), err: error }, 'DTLS handshake failed')
    try {
      const handshake = new DtlsHandshake(hello, message, {
        werift: this.#werift,
        certificate: this.#certificate,
        send: (datagram) => this.#send(to, datagram),
        onDone: (established) => {
          this.#cut(tuple)
          this.#establish(established, tuple, to)
        },
        onFailed: (error) => {
          this.#cut(tuple)
          logFailure(error)
        },
      })
      const deadline = clock.after(handshakeMs, () => this.#cut(tuple))
      this.#begun.set(tuple, { handshake, address, deadline })
      this.#handshakesOf.add(address)
      handshake.begin(hello)
    } catch (error) {
      this.#cut(tuple)
      logFailure(error)
    }
  }

  #establish(established: Established, tuple: string, to: Addressed): void {
    const { state, core, limits, clock, datapath } = this.#options
    if (this.#endpoint === undefined) return
    // The client has begun anew, by the same port.
    this.#clients.get(tuple)?.disconnect()
    const flow = datapath.addFlow({
      kind: 'deliver',
      from: { endpoint: this.#endpoint.id, local: to.local, remote: to },
    })
    const client = new DtlsClient(established, {
      state,
      core,
      limits,
      clock,
      address: to.address,
      port: to.port,
      key: `${state.options.name} ${++this.#connections} ${tuple}`,
      send: (datagram) => this.#send(to, datagram),
      onEnd: () => {
        datapath.removeFlow(flow)
        this.#byFlow.delete(flow)
        this.#clients.delete(tuple)
        this.#clientsOf.remove(to.address)
      },
    })
    this.#byFlow.set(flow, client)
    this.#clients.set(tuple, client)
    this.#clientsOf.add(to.address)
  }

  #hasRoom(address: string): boolean {
    const { maxConnections, maxConnectionsPerAddress } = this.#options.limits()
    const ofAddress = this.#handshakesOf.of(address)
    return (
      ofAddress < maxHandshakesPerAddress &&
      this.#begun.size + this.#clients.size < maxConnections &&
      ofAddress + this.#clientsOf.of(address) < maxConnectionsPerAddress
    )
  }

  #cutOldest(): void {
    const [oldest] = this.#begun.keys()
    if (oldest !== undefined) this.#cut(oldest)
  }

  #cut(tuple: string): void {
    const begun = this.#begun.get(tuple)
    if (begun === undefined) return
    this.#begun.delete(tuple)
    begun.deadline.cancel()
    begun.handshake.stop()
    this.#handshakesOf.remove(begun.address)
  }

  #refuseVersion(to: Addressed): void {
    const body = Uint8Array.of(2, alertProtocolVersion)
    this.#send(to, writeRecord({ type: ContentType.alert, epoch: 0, sequence: 1, body }, DtlsVersion.v10))
  }

  #mayAnswer({ address, bytes }: Arrival): boolean {
    const { limits, clock, random } = this.#options
    const inForce = limits()
    if (this.#budget?.limits !== inForce) {
      const { strangerRepliesPerSecond: perPrefix, totalStrangerRepliesPerSecond: total } = inForce
      this.#budget = { limits: inForce, of: new StrangerBudget({ perPrefix, total, key: random(16) }) }
    }
    return this.#budget.of.admits(address, bytes.length, clock.nowMs())
  }

  #send(to: Addressed, datagram: Uint8Array): boolean {
    return this.#endpoint !== undefined && this.#options.datapath.send(this.#endpoint.id, to, datagram, to)
  }
}

/** Where a client is, and by which of our addresses. */
type Addressed = Remote & { readonly local: number }

/** Handshakes that have begun, of all clients; a further one cuts the oldest. */
const maxHandshakes = 256
/** Of one address; a further one is passed over. Each costs some milliseconds. */
const maxHandshakesPerAddress = 32
/** How long a handshake may take. */
const handshakeMs = 15_000
const alertProtocolVersion = 70

async function loadWerift(): Promise<WeriftModule> {
  try {
    // It takes a quarter of a second, which a server without DTLS should not pay.
    return await import('werift')
  } catch (cause) {
    const message = 'the package "werift" cannot be loaded, so there is no dtls: npm install werift'
    throw new TurnError('TURN_UNSUPPORTED', message, cause)
  }
}
