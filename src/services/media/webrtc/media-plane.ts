import { errorCode } from '../../../foundation/errors.ts'
import {
  ALL_THREADS,
  type Arrival,
  canonicalAddress,
  COUNTER_STRIDE,
  type Endpoint,
  type EndpointId,
  type FlowId,
  type LocalAddress,
  type Remote,
} from '../../../mechanisms/datapath/index.ts'
import {
  packetKind,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  stunUsername,
  verifyFingerprint,
  verifyMessageIntegrity,
} from '../../../protocols/stun/index.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { ClientRemote, CountedFlow, Session, Traffic } from './session.ts'
import type { SessionTable } from './session-table.ts'
import { STRANGER_REASONS, type StrangerReason } from './stranger-reason.ts'

/** Below this, some hundred large datagrams that come at once do not fit. */
const wantedReceiveBufferBytes = 1024 * 1024
/** A nominated address that is silent for so long loses to another one that is not nominated. */
const silentAfterMs = 3000

/**
 * The media of all sessions: one public endpoint, and one connected endpoint per session towards its origin. A
 * client becomes known by a STUN request whose USERNAME names a session and whose MESSAGE-INTEGRITY was made with
 * that session's password; from then on the datapath moves its datagrams. The datapath copies the STUN requests of
 * known clients here, which is how an address that changes hands, or a client that moves, is followed.
 */
export class MediaPlane {
  readonly fromClients: Traffic = { packets: 0, bytes: 0 }
  readonly fromOrigins: Traffic = { packets: 0, bytes: 0 }
  readonly strangersDropped: Record<StrangerReason, number>
  readonly #options: CompleteWebRtcOptions
  readonly #sessions: SessionTable
  readonly #onOriginGone: (session: Session) => void
  readonly #remotes = new Map<FlowId, ClientRemote>()
  /** The same, by address: a stranger's second datagram may be on its way here while its flow is added. */
  readonly #remoteOf = new Map<string, ClientRemote>()
  #endpoint: Endpoint | undefined
  #counters = new Float64Array(64 * COUNTER_STRIDE)

  constructor(
    options: CompleteWebRtcOptions,
    sessions: SessionTable,
    onOriginGone: (session: Session) => void,
  ) {
    this.#options = options
    this.#onOriginGone = onOriginGone
    this.#sessions = sessions
    this.strangersDropped = Object.fromEntries(STRANGER_REASONS.map((reason) => [reason, 0])) as Record<
      StrangerReason,
      number
    >
  }

  /** Binds the public endpoint. @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE */
  async start(): Promise<void> {
    if (this.#endpoint !== undefined) return
    const { datapath, logger, mediaAddresses, mediaPort } = this.#options
    const options = { addresses: mediaAddresses, port: mediaPort, threads: ALL_THREADS }
    this.#endpoint = await datapath.openEndpoint(options, this.#receive)
    const { port, receiveBufferBytes } = this.#endpoint
    logger.info({ port, receiveBufferBytes }, 'media port bound')
    if (receiveBufferBytes < wantedReceiveBufferBytes) {
      logger.warn(
        { port, receiveBufferBytes, wantedReceiveBufferBytes },
        'small receive buffer, bursts may be lost; raise net.core.rmem_max',
      )
    }
  }

  close(): void {
    if (this.#endpoint !== undefined) this.#options.datapath.closeEndpoint(this.#endpoint.id)
    this.#endpoint = undefined
  }

  /** Where clients' media is heard at present. */
  get locals(): readonly LocalAddress[] {
    return this.#endpoint?.locals ?? []
  }

  /** Opens a socket on which only `origin` is heard. */
  async openOrigin(origin: Remote): Promise<EndpointId> {
    const addresses = [canonicalAddress(origin.address).includes(':') ? '::' : '0.0.0.0']
    const options = { addresses, port: 0, remote: origin }
    return (await this.#options.datapath.openEndpoint(options, this.#receiveFromOrigin)).id
  }

  closeOrigin(endpoint: EndpointId): void {
    this.#options.datapath.closeEndpoint(endpoint)
  }

  /** Forgets a session's addresses and closes its socket; what it moved is counted first. */
  dismiss(session: Session): void {
    for (const remote of session.remotes.values()) this.#forget(remote)
    this.#unaim(session)
    this.closeOrigin(session.originEndpoint)
  }

  /** Adds what flows have moved since the last call to the traffic of their sessions, and notes who was heard. */
  count(): void {
    const flows: FlowId[] = []
    for (const session of this.#sessions) {
      for (const flow of session.remotes.keys()) flows.push(flow)
      if (session.reverse !== undefined) flows.push(session.reverse.flow)
    }
    if (this.#counters.length < flows.length * COUNTER_STRIDE) {
      this.#counters = new Float64Array(2 * flows.length * COUNTER_STRIDE)
    }
    this.#options.datapath.readCounters(flows, this.#counters)
    const nowMs = this.#options.clock.nowMs()
    let at = 0
    for (const session of this.#sessions) {
      for (const remote of session.remotes.values()) {
        if (this.#add(remote, at, session.fromClient, this.fromClients)) {
          remote.seenAtMs = nowMs
          session.clientSeenAtMs = nowMs
        }
        at += COUNTER_STRIDE
      }
      if (session.reverse === undefined) continue
      if (this.#add(session.reverse, at, session.fromOrigin, this.fromOrigins)) session.originSeenAtMs = nowMs
      at += COUNTER_STRIDE
    }
  }

  /** The datapath forwards what the origin sends; only that nobody is there arrives here. */
  readonly #receiveFromOrigin = ({ kind, endpoint }: Arrival): void => {
    const session = kind === 'icmp' ? this.#sessions.byOriginEndpoint(endpoint) : undefined
    if (session !== undefined) this.#onOriginGone(session)
  }

  readonly #receive = (arrival: Arrival): void => {
    if (arrival.kind === 'icmp') return
    try {
      const remote = this.#remotes.get(arrival.flow)
      if (remote === undefined) this.#onStranger(arrival)
      else this.#onKnown(remote, arrival)
    } catch (error) {
      // The datapath refused a flow or a datagram; the others go on.
      this.#options.logger.error({ code: errorCode(error), err: error }, 'a datagram could not be handled')
    }
  }

  #onStranger(arrival: Arrival): void {
    const found = this.#identify(arrival)
    if (typeof found === 'string') {
      this.strangersDropped[found]++
      return
    }
    const { session, message } = found
    const known = this.#remoteOf.get(addressKey(arrival))
    if (known !== undefined && known.session !== session) this.#forget(known)
    const remote = known?.session === session ? known : this.#admit(session, arrival)
    this.#follow(remote, arrival.local, message)
    this.#forward(session, arrival)
  }

  /** A STUN request that the datapath has forwarded already, to the session that the address belongs to so far. */
  #onKnown(remote: ClientRemote, arrival: Arrival): void {
    const { session } = remote
    const nowMs = this.#options.clock.nowMs()
    remote.seenAtMs = nowMs
    session.clientSeenAtMs = nowMs
    const { aim } = session
    const isSettled = aim?.remote === remote && aim.local === arrival.local && aim.isNominated
    // Nearly every request is this one: consent on the path in use.
    if (isSettled && hasUsername(session, stunUsername(arrival.bytes))) return
    const found = this.#identify(arrival)
    if (typeof found === 'string') return
    if (found.session === session) {
      this.#follow(remote, arrival.local, found.message)
      return
    }
    // The address is another session's now: behind a NAT, or after a reconnect from the same port.
    this.#forget(remote)
    this.#follow(this.#admit(found.session, arrival), arrival.local, found.message)
    this.#forward(found.session, arrival)
  }

  /** The session that a datagram proves to belong to, or why it proves nothing. */
  #identify({ bytes }: Arrival): { session: Session; message: StunMessage } | StrangerReason {
    if (packetKind(bytes[0]) !== 'stun') return 'not-stun'
    const message = StunMessage.decode(bytes)
    if (typeof message === 'string') return 'malformed'
    if (message.method !== StunMethod.binding || message.class !== StunClass.request) return 'not-request'
    if (message.fingerprintOffset !== undefined && !verifyFingerprint(message)) return 'malformed'
    const username = stunUsername(bytes)
    if (username === undefined) return 'no-username'
    const session = this.#sessions.byUsername(username)
    const identity = session?.identities.find((one) => one.username === username)
    if (session === undefined || identity === undefined) return 'unknown-session'
    return verifyMessageIntegrity(message, identity.password) ? { session, message } : 'integrity'
  }

  #admit(session: Session, { address, port }: Remote): ClientRemote {
    const { datapath, clock, maxRemotesPerSession } = this.#options
    if (session.remotes.size >= maxRemotesPerSession) {
      // Maps keep the order of insertion: the first is the one longest known.
      const oldest = [...session.remotes.values()].find((remote) => remote !== session.aim?.remote)
      if (oldest !== undefined) this.#forget(oldest)
    }
    const flow = datapath.addFlow({
      kind: 'forward',
      from: { endpoint: this.#publicEndpoint(), remote: { address, port } },
      to: { endpoint: session.originEndpoint, remote: session.originMedia },
      copyStunRequests: true,
    })
    const remote: ClientRemote = {
      session,
      address,
      port,
      flow,
      packets: 0,
      bytes: 0,
      seenAtMs: clock.nowMs(),
    }
    session.remotes.set(flow, remote)
    this.#remotes.set(flow, remote)
    this.#remoteOf.set(addressKey(remote), remote)
    return remote
  }

  /**
   * Turns the origin's datagrams towards the address that an authentic request came from. Before the client has
   * nominated one, that is the latest, so that each check gets its answer; afterwards a check of another pair must
   * not take the media along, unless the nominated address has gone silent.
   */
  #follow(remote: ClientRemote, local: number, request: StunMessage): void {
    const { session } = remote
    const { datapath, clock } = this.#options
    const { aim, reverse } = session
    const isNominated = request.attribute(StunAttribute.useCandidate) !== undefined
    if (aim?.remote === remote && aim.local === local) {
      aim.isNominated ||= isNominated
      return
    }
    if (aim?.isNominated === true && !isNominated) {
      const isSilent = aim.remote !== remote && clock.nowMs() - aim.remote.seenAtMs >= silentAfterMs
      if (!isSilent) return
    }
    session.aim = { remote, local, isNominated }
    if (reverse !== undefined) {
      datapath.aim(reverse.flow, remote, local)
      return
    }
    const flow = datapath.addFlow({
      kind: 'forward',
      from: { endpoint: session.originEndpoint, remote: session.originMedia },
      to: { endpoint: this.#publicEndpoint(), remote, local },
    })
    session.reverse = { flow, packets: 0, bytes: 0 }
    session.originSeenAtMs = clock.nowMs()
  }

  /** Sends on what came before its flow was there. */
  #forward(session: Session, { bytes }: Arrival): void {
    this.#options.datapath.send(session.originEndpoint, session.originMedia, bytes)
    session.clientSeenAtMs = this.#options.clock.nowMs()
    for (const traffic of [session.fromClient, this.fromClients]) {
      traffic.packets++
      traffic.bytes += bytes.length
    }
  }

  #forget(remote: ClientRemote): void {
    const { session } = remote
    this.#remove(remote, session.fromClient, this.fromClients)
    session.remotes.delete(remote.flow)
    this.#remotes.delete(remote.flow)
    this.#remoteOf.delete(addressKey(remote))
    if (session.aim?.remote === remote) this.#unaim(session)
  }

  #unaim(session: Session): void {
    if (session.reverse !== undefined) this.#remove(session.reverse, session.fromOrigin, this.fromOrigins)
    session.reverse = undefined
    session.aim = undefined
  }

  #remove(counted: CountedFlow, ...traffic: readonly [Traffic, Traffic]): void {
    this.#options.datapath.readCounters([counted.flow], this.#counters)
    this.#add(counted, 0, ...traffic)
    this.#options.datapath.removeFlow(counted.flow)
  }

  /** Adds what the counters at `at` have grown by. True when they have. */
  #add(counted: CountedFlow, at: number, ...traffic: readonly [Traffic, Traffic]): boolean {
    const packets = (this.#counters[at] ?? 0) - counted.packets
    const bytes = (this.#counters[at + 1] ?? 0) - counted.bytes
    // A flow that went down with its endpoint reads as zero.
    if (packets <= 0) return false
    counted.packets += packets
    counted.bytes += bytes
    for (const sum of traffic) {
      sum.packets += packets
      sum.bytes += bytes
    }
    return true
  }

  #publicEndpoint(): EndpointId {
    if (this.#endpoint === undefined) throw new Error('the media endpoint is closed')
    return this.#endpoint.id
  }
}

function hasUsername(session: Session, username: string | undefined): boolean {
  return session.identities.some((identity) => identity.username === username)
}

function addressKey({ address, port }: Remote): string {
  return `${address} ${port}`
}
