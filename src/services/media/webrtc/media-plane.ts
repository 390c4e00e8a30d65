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
  type MeterId,
  type Remote,
} from '../../../mechanisms/datapath/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import { StunAttribute, type StunMessage, stunUsername } from '../../../protocols/stun/index.ts'
import type { Elsewhere } from './elsewhere.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { CountedFlow, Session, TcpPath, Traffic, UdpPath } from './session.ts'
import type { SessionTable } from './session-table.ts'
import { STRANGER_REASONS, type StrangerReason } from './stranger-reason.ts'
import { proofOf } from './stun-proof.ts'

/** Below this, some hundred large datagrams that come at once do not fit. */
const wantedReceiveBufferBytes = 1024 * 1024
/** A nominated path that is silent for so long loses to another one that is not nominated. */
const silentAfterMs = 3000

/** What the media plane leaves to others. */
export interface MediaEvents extends Pick<Elsewhere, 'ask'> {
  originGone(session: Session): void
  /** The client of a session on standby uses a path through this gateway. */
  cameBack(session: Session): void
}

/**
 * The media of all sessions: the public UDP ports, and one connected endpoint per session towards its origin. A
 * client becomes known by a STUN request whose USERNAME names a session and whose MESSAGE-INTEGRITY was made with
 * that session's password; from then on the datapath moves its datagrams. The datapath copies the STUN requests of
 * known clients here, which is how an address that changes hands, or a client that moves, is followed. A request whose
 * session is not here may bring it here from another gateway. Clients that come over TCP are led to the same place by `IceTcp`, and what the origin sends them is handed over here.
 */
export class MediaPlane {
  readonly fromClients: Traffic = { packets: 0, bytes: 0 }
  readonly fromOrigins: Traffic = { packets: 0, bytes: 0 }
  readonly strangersDropped: Record<StrangerReason, number>
  readonly #options: CompleteWebRtcOptions
  readonly #sessions: SessionTable
  readonly #events: MediaEvents
  readonly #remotes = new Map<FlowId, UdpPath>()
  /** The same, by address: a stranger's second datagram may be on its way here while its flow is added. */
  readonly #remoteOf = new Map<string, UdpPath>()
  readonly #faults: LinePace
  #endpoints: readonly Endpoint[] = []
  #counters = new Float64Array(64 * COUNTER_STRIDE)

  constructor(options: CompleteWebRtcOptions, sessions: SessionTable, events: MediaEvents) {
    this.#options = options
    this.#faults = new LinePace(options.clock)
    this.#events = events
    this.#sessions = sessions
    this.strangersDropped = Object.fromEntries(STRANGER_REASONS.map((reason) => [reason, 0])) as Record<
      StrangerReason,
      number
    >
  }

  /** Binds the public ports. @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE */
  async start(): Promise<void> {
    if (this.#endpoints.length > 0) return
    const { datapath, logger, mediaListen } = this.#options
    try {
      for (const { addresses, port } of mediaListen) {
        const options = { addresses, port, threads: ALL_THREADS }
        this.#endpoints = [...this.#endpoints, await datapath.openEndpoint(options, this.#receive)]
      }
    } catch (error) {
      this.close()
      throw error
    }
    for (const { port, receiveBufferBytes } of this.#endpoints) {
      logger.info({ port, receiveBufferBytes }, 'media port bound')
      if (receiveBufferBytes < wantedReceiveBufferBytes) {
        logger.warn(
          { port, receiveBufferBytes, wantedReceiveBufferBytes },
          'small receive buffer, bursts may be lost; raise net.core.rmem_max',
        )
      }
    }
  }

  close(): void {
    for (const { id } of this.#endpoints) this.#options.datapath.closeEndpoint(id)
    this.#endpoints = []
  }

  /** Where clients' media is heard over UDP at present. */
  get locals(): readonly LocalAddress[] {
    return this.#endpoints.flatMap(({ locals }) => locals)
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

  /** Forgets a session's paths and closes its socket; what it moved is counted first. */
  dismiss(session: Session): void {
    for (const remote of session.remotes.values()) this.#forget(remote)
    for (const path of session.connections) this.forgetTcp(path)
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

  /**
   * A connection has proved to be of its session by this request, which is passed on as well.
   *
   * @param isBound nothing could prove it, and the session is this connection's for good
   */
  admitTcp(path: TcpPath, bytes: Uint8Array, request: StunMessage, isBound = false): void {
    const { connections, aim } = path.session
    if (connections.size >= this.#options.maxRemotesPerSession) {
      // Sets keep the order of insertion.
      const oldest = [...connections].find((other) => other !== aim?.path)
      if (oldest !== undefined) this.forgetTcp(oldest)
    }
    connections.add(path)
    this.#follow(path, 0, isBound || isNominating(request))
    this.#forward(path.session, bytes)
  }

  /** A datagram of a connection that has proved itself. */
  receiveTcp(path: TcpPath, bytes: Uint8Array): void {
    const { session } = path
    const nowMs = this.#options.clock.nowMs()
    path.seenAtMs = nowMs
    session.clientSeenAtMs = nowMs
    if (bytes[0] === 0 && bytes[1] === 1 && (session.isStandby || !isSettled(session, path, 0))) {
      const proof = proofOf(bytes, this.#sessions)
      if (typeof proof !== 'string' && proof.session === session)
        this.#follow(path, 0, isNominating(proof.message))
    }
    const { datapath } = this.#options
    if (metersOf(session, 'publish').every((meter) => datapath.charge(meter, bytes.length))) {
      this.#forward(session, bytes)
    }
  }

  /** Closes a connection, if it is not closed yet, and sends nothing more there. */
  forgetTcp(path: TcpPath): void {
    const { session } = path
    if (!session.connections.delete(path)) return
    if (session.aim?.path === path) this.#unaim(session)
    path.close()
  }

  /** The datapath forwards what the origin sends, but for clients over TCP; that nobody is there arrives here too. */
  readonly #receiveFromOrigin = ({ kind, endpoint, bytes }: Arrival): void => {
    const session = this.#sessions.byOriginEndpoint(endpoint)
    if (session === undefined) return
    if (kind === 'icmp') this.#events.originGone(session)
    else if (session.aim?.path.kind === 'tcp') session.aim.path.send(bytes)
  }

  readonly #receive = (arrival: Arrival): void => {
    if (arrival.kind === 'data') this.#handle(arrival, undefined)
  }

  /** @param boundTo its session, where the sender cannot prove it and need not */
  #handle(arrival: Arrival, boundTo: Session | undefined): void {
    try {
      const remote = this.#remotes.get(arrival.flow)
      if (boundTo !== undefined) this.#bind(boundTo, arrival)
      else if (remote === undefined) this.#onStranger(arrival)
      else this.#onKnown(remote, arrival)
    } catch (error) {
      // The datapath refused a flow or a datagram; the others go on.
      const code = errorCode(error)
      const due = this.#faults.due(code)
      if (due !== undefined) {
        this.#options.logger.error({ code, err: error, ...due }, 'a datagram could not be handled')
      }
    }
  }

  #onStranger(arrival: Arrival): void {
    const proof = proofOf(arrival.bytes, this.#sessions)
    if (proof === 'unknown-session') this.#askElsewhere(arrival)
    else if (typeof proof === 'string') this.strangersDropped[proof]++
    else this.#lead(proof.session, arrival, isNominating(proof.message))
  }

  /** Makes the sender of a request, so far unknown at least to the datapath, one of the session's. */
  #lead(session: Session, arrival: Arrival, isNominated: boolean): void {
    const known = this.#remoteOf.get(addressKey(arrival))
    if (known !== undefined && known.session !== session) this.#forget(known)
    const remote = known?.session === session ? known : this.#admit(session, arrival)
    this.#follow(remote, arrival.local, isNominated)
    this.#forward(session, arrival.bytes)
  }

  /** The first address that names a session which nobody can prove: it counts as nominated, so that no other is followed. */
  #bind(session: Session, arrival: Arrival): void {
    if (session.ended === undefined) this.#lead(session, arrival, true)
    else this.strangersDropped.unverified++
  }

  /** What a known sender sent has gone to its session so far; only strangers' requests are dropped. */
  #askElsewhere(arrival: Arrival): void {
    const isStranger = !this.#remotes.has(arrival.flow)
    const { endpoint, flow, address, port, local, kind, icmp } = arrival
    const drop = (reason: StrangerReason): void => {
      if (isStranger) this.strangersDropped[reason]++
    }
    const refusal = this.#events.ask(arrival.bytes, { transport: 'udp', address }, (bytes, outcome) => {
      const kept = { endpoint, flow, address, port, local, kind, icmp, bytes }
      if (outcome.kind === 'dropped') drop(outcome.reason)
      else this.#handle(kept, outcome.kind === 'bound' ? outcome.session : undefined)
    })
    if (refusal !== undefined) drop(refusal)
  }

  /** A STUN request that the datapath has forwarded already, to the session that the address belongs to so far. */
  #onKnown(remote: UdpPath, arrival: Arrival): void {
    const { session } = remote
    const nowMs = this.#options.clock.nowMs()
    remote.seenAtMs = nowMs
    session.clientSeenAtMs = nowMs
    // Nearly every request is this one: consent on the path in use.
    const isPlain = !session.isStandby && isSettled(session, remote, arrival.local)
    if (isPlain && hasUsername(session, stunUsername(arrival.bytes))) return
    const proof = proofOf(arrival.bytes, this.#sessions)
    if (proof === 'unknown-session') this.#askElsewhere(arrival)
    if (typeof proof === 'string') return
    const isNominated = isNominating(proof.message)
    if (proof.session === session) this.#follow(remote, arrival.local, isNominated)
    // The address is another session's now: behind a NAT, or after a reconnect from the same port.
    else this.#lead(proof.session, arrival, isNominated)
  }

  #admit(session: Session, { endpoint, address, port }: Arrival): UdpPath {
    const { datapath, clock, maxRemotesPerSession } = this.#options
    if (session.remotes.size >= maxRemotesPerSession) {
      // Maps keep the order of insertion: the first is the one longest known.
      const oldest = [...session.remotes.values()].find((remote) => remote !== session.aim?.path)
      if (oldest !== undefined) this.#forget(oldest)
    }
    const flow = datapath.addFlow({
      kind: 'forward',
      from: { endpoint, remote: { address, port } },
      to: { endpoint: session.originEndpoint, remote: session.originMedia },
      copyStunRequests: true,
      meters: metersOf(session, 'publish'),
    })
    const counted = { flow, packets: 0, bytes: 0, seenAtMs: clock.nowMs() }
    const remote: UdpPath = { kind: 'udp', session, endpoint, address, port, ...counted }
    session.remotes.set(flow, remote)
    this.#remotes.set(flow, remote)
    this.#remoteOf.set(addressKey(remote), remote)
    return remote
  }

  /**
   * Turns the origin's datagrams towards the path that an authentic request came by. Before the client has
   * nominated one, that is the latest, so that each check gets its answer; afterwards a check of another pair must
   * not take the media along, unless the nominated path has gone silent.
   */
  #follow(path: UdpPath | TcpPath, local: number, isNominated: boolean): void {
    const { session } = path
    const { aim } = session
    if (aim?.path === path && aim.local === local) {
      aim.isNominated ||= isNominated
      if (aim.isNominated && session.isStandby) this.#events.cameBack(session)
      return
    }
    if (aim?.isNominated === true && !isNominated) {
      const isSilent = aim.path !== path && this.#options.clock.nowMs() - aim.path.seenAtMs >= silentAfterMs
      if (!isSilent) return
    }
    this.#turn(session, path, local)
    session.aim = { path, local, isNominated }
    // A check of any pair is no sign: of two paths both are checked.
    if (session.isStandby && (isNominated || aim?.isNominated === true)) this.#events.cameBack(session)
  }

  /** Makes the flow from the origin end at this path. */
  #turn(session: Session, path: UdpPath | TcpPath, local: number): void {
    const { datapath, clock } = this.#options
    const { reverse } = session
    const endpoint = path.kind === 'udp' ? path.endpoint : undefined
    if (reverse !== undefined && reverse.endpoint === endpoint) {
      if (path.kind === 'udp') datapath.aim(reverse.flow, path, local)
      return
    }
    if (reverse === undefined) session.originSeenAtMs = clock.nowMs()
    this.#unaim(session)
    const from = { endpoint: session.originEndpoint, remote: session.originMedia }
    const meters = metersOf(session, 'play')
    const flow = datapath.addFlow(
      path.kind === 'udp'
        ? { kind: 'forward', from, to: { endpoint: path.endpoint, remote: path, local }, meters }
        : { kind: 'deliver', from, meters },
    )
    session.reverse = { flow, packets: 0, bytes: 0, endpoint }
  }

  /** Sends on what no flow took. */
  #forward(session: Session, bytes: Uint8Array): void {
    // By what its request brought about.
    if (session.ended !== undefined) return
    this.#options.datapath.send(session.originEndpoint, session.originMedia, bytes)
    session.clientSeenAtMs = this.#options.clock.nowMs()
    for (const traffic of [session.fromClient, this.fromClients]) {
      traffic.packets++
      traffic.bytes += bytes.length
    }
  }

  #forget(remote: UdpPath): void {
    const { session } = remote
    this.#remove(remote, session.fromClient, this.fromClients)
    session.remotes.delete(remote.flow)
    this.#remotes.delete(remote.flow)
    this.#remoteOf.delete(addressKey(remote))
    if (session.aim?.path === remote) this.#unaim(session)
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
}

/** The budgets of one direction: a stream flows from those who publish, and to those who play. */
function metersOf(session: Session, role: Session['role']): readonly MeterId[] {
  return session.role === role ? session.meters.meters : []
}

function isNominating(request: StunMessage): boolean {
  return request.attribute(StunAttribute.useCandidate) !== undefined
}

function isSettled({ aim }: Session, path: UdpPath | TcpPath, local: number): boolean {
  return aim?.path === path && aim.local === local && aim.isNominated
}

function hasUsername(session: Session, username: string | undefined): boolean {
  return session.identities.some((identity) => identity.username === username)
}

function addressKey({ endpoint, address, port }: Remote & { readonly endpoint: EndpointId }): string {
  return `${endpoint} ${address} ${port}`
}
