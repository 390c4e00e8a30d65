import type { Timer } from '../../../foundation/clock.ts'
import type { Role, StreamKey } from '../../../mechanisms/balancer/index.ts'
import { type Arrival, COUNTER_STRIDE, type FlowId, STRANGER } from '../../../mechanisms/datapath/index.ts'
import {
  ControlWord,
  DESTINATION_OFFSET,
  destinationOf,
  encodeHandshake,
  firstWord,
  type Handshake,
  peerIpBytes,
  shutdownPacket,
} from '../../../protocols/srt/index.ts'
import { type Admission, LimitMeters } from '../access/index.ts'
import type { Caller } from './caller.ts'
import { socketIdTaken } from './errors.ts'
import { controlFlows, KnownCallers } from './known-callers.ts'
import type { CompleteSrtOptions } from './options.ts'
import type { OriginFound } from './origin-search.ts'
import { callerSocketOf, type EndReason, originSocketOf, type Session } from './session.ts'
import { addMoved, addPacket, counted, type CountedFlow, type Traffic } from './traffic.ts'

/** What a session is made of. */
export interface SessionParts extends OriginFound {
  readonly id: string
  readonly caller: Caller
  readonly streamKey: StreamKey
  readonly role: Role
  readonly admission: Admission
}

/** Whom to tell that a session is over: those who do not know. A caller that called anew would take it for its new socket. */
const told: Readonly<Record<EndReason, { readonly caller: boolean; readonly origin: boolean }>> = {
  caller: { caller: false, origin: true },
  origin: { caller: true, origin: false },
  idle: { caller: true, origin: true },
  'origin-gone': { caller: true, origin: false },
  replaced: { caller: false, origin: true },
  moved: { caller: true, origin: true },
  denied: { caller: true, origin: true },
  kicked: { caller: true, origin: true },
  drained: { caller: true, origin: true },
}

/**
 * The sessions from the origin's answer to their end, whatever ends them. The datapath moves their packets, each by the
 * address it comes from *and* the socket id it is for; handshakes and shutdowns come here. One timer looks after all.
 */
export class Sessions {
  readonly fromCallers: Traffic = { packets: 0, bytes: 0 }
  readonly fromOrigins: Traffic = { packets: 0, bytes: 0 }
  readonly ended: Partial<Record<EndReason, number>> = {}
  readonly #options: CompleteSrtOptions
  readonly #known: KnownCallers
  readonly #limits: LimitMeters
  /** By the caller's key. */
  readonly #byKey = new Map<string, Session>()
  readonly #byProof = new Map<string, Session>()
  readonly #bySource = new Map<string, number>()
  #counters = new Float64Array(64 * COUNTER_STRIDE)
  #timer: Timer | undefined
  #onEmpty: (() => void) | undefined

  constructor(options: CompleteSrtOptions) {
    this.#options = options
    this.#known = new KnownCallers(options.datapath)
    this.#limits = new LimitMeters(options.datapath)
  }

  get size(): number {
    return this.#byKey.size
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#byKey.values()
  }

  /** Sessions of a source: an IPv4 address or the /64 of an IPv6 address. */
  countOf(source: string): number {
    return this.#bySource.get(source) ?? 0
  }

  start(): void {
    if (this.#timer === undefined) this.#schedule()
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** The session of a caller that calls again from the same address with the same socket. */
  byKey(key: string): Session | undefined {
    return this.#byKey.get(key)
  }

  /** The session that began with the very same conclusion. */
  byProof(proof: string): Session | undefined {
    return this.#byProof.get(proof)
  }

  isFree(caller: Caller, originSocket: number): boolean {
    return this.#known.find(caller.endpoint, caller, originSocket) === undefined
  }

  /**
   * Lets packets flow and answers the caller. What is in `parts` is the session's from now on, but when this throws.
   * @throws SRT_SOCKET_ID_TAKEN
   */
  open({ id, caller, link, hold, admission, origin, streamKey, role }: SessionParts): Session {
    const { clock } = this.#options
    if (!this.isFree(caller, link.answer.socketId)) throw socketIdTaken()
    const nowMs = clock.nowMs()
    const meters = this.#limits.take(admission.limits)
    const session: Session = {
      id,
      streamKey,
      role,
      originId: origin.id,
      admission,
      hold,
      meters,
      sinceMs: clock.wallMs(),
      link,
      answer: answerFor(caller, link.answer),
      caller,
      fromCallerFlow: counted(STRANGER),
      fromOriginFlow: counted(STRANGER),
      callerSeenAtMs: nowMs,
      originSeenAtMs: nowMs,
      fromCaller: { packets: 0, bytes: 0 },
      fromOrigin: { packets: 0, bytes: 0 },
      ended: undefined,
    }
    try {
      this.#connect(session)
      this.#admit(session, caller)
    } catch (error) {
      this.#dismissCaller(session)
      meters.end()
      throw error
    }
    this.#byProof.set(caller.proof, session)
    link.onArrival = (arrival) => this.#onOrigin(session, arrival)
    this.answer(session)
    admission.signal.addEventListener('abort', () => this.end(session, 'denied'), { once: true })
    if (admission.signal.aborted) this.end(session, 'denied')
    return session
  }

  /** Answers the caller's conclusion, again. */
  answer({ caller, answer }: Session): void {
    const { datapath } = this.#options
    datapath.send(caller.endpoint, addressOf(caller), encodeHandshake(answer), { local: caller.local })
  }

  /**
   * Takes a session to the address from which its caller repeats its conclusion. SRT has no proof of its own for a caller
   * whose address changes. What counts as one is a cookie of ours, by which it receives where it says that it is, with the
   * very conclusion that the session began with: its socket id, its first sequence number, its stream id and its keys,
   * which nobody knows who did not see it. Packets alone, from wherever, move nothing.
   */
  move(session: Session, caller: Caller): void {
    this.#dismissCaller(session)
    this.#admit(session, caller)
    this.#options.datapath.aim(session.fromOriginFlow.flow, addressOf(caller), caller.local)
    this.answer(session)
    this.#options.logger.debug({ session: session.id }, 'caller moved')
  }

  /** A packet of a caller that no flow took: a shutdown, or it was faster than its flow. False when it is nobody's. */
  onCaller(arrival: Arrival): boolean {
    const { endpoint, bytes } = arrival
    const session = this.#known.find(endpoint, arrival, destinationOf(bytes))
    if (session === undefined) return false
    if (firstWord(bytes) === ControlWord.shutdown) {
      this.end(session, 'caller')
      return true
    }
    const { datapath, clock } = this.#options
    session.callerSeenAtMs = clock.nowMs()
    datapath.send(session.link.endpoint, session.link.remote, bytes)
    addPacket(bytes.length, session.fromCaller, this.fromCallers)
    return true
  }

  /** Ends a session and tells those who do not know. May be called twice. */
  end(session: Session, reason: EndReason): void {
    if (session.ended !== undefined) return
    session.ended = reason
    this.ended[reason] = (this.ended[reason] ?? 0) + 1
    const { datapath, clock, logger } = this.#options
    const nowUs = 1000 * clock.nowMs()
    const { caller, link } = session
    if (told[reason].caller) {
      const packet = shutdownPacket(callerSocketOf(session), nowUs)
      datapath.send(caller.endpoint, addressOf(caller), packet, { local: caller.local })
    }
    if (told[reason].origin) {
      datapath.send(link.endpoint, link.remote, shutdownPacket(originSocketOf(session), nowUs))
    }
    this.#dismissCaller(session)
    this.#remove(session.fromOriginFlow, session.fromOrigin, this.fromOrigins)
    this.#byProof.delete(caller.proof)
    datapath.closeEndpoint(link.endpoint)
    session.meters.end()
    session.hold.end()
    session.admission.end()
    logger.debug({ session: session.id, origin: session.originId, reason }, 'session ended')
    if (this.size === 0) this.#onEmpty?.()
  }

  endAll(reason: EndReason): void {
    for (const session of [...this]) this.end(session, reason)
  }

  /** Resolves when no session is left, or after `graceMs`. */
  async drained(graceMs: number): Promise<void> {
    if (graceMs <= 0 || this.size === 0) return
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(graceMs, resolve)
      this.#onEmpty = () => {
        timer.cancel()
        resolve()
      }
    })
    this.#onEmpty = undefined
  }

  /** Adds what flows have moved since the last call to the traffic of their sessions, and notes who was heard. */
  count(): void {
    const flows: FlowId[] = []
    for (const { fromCallerFlow, fromOriginFlow } of this)
      flows.push(fromCallerFlow.flow, fromOriginFlow.flow)
    if (this.#counters.length < flows.length * COUNTER_STRIDE) {
      this.#counters = new Float64Array(2 * flows.length * COUNTER_STRIDE)
    }
    this.#options.datapath.readCounters(flows, this.#counters)
    const nowMs = this.#options.clock.nowMs()
    let index = 0
    for (const session of this) {
      const { fromCallerFlow, fromOriginFlow, fromCaller, fromOrigin } = session
      if (addMoved(fromCallerFlow, this.#counters, index++, fromCaller, this.fromCallers))
        session.callerSeenAtMs = nowMs
      if (addMoved(fromOriginFlow, this.#counters, index++, fromOrigin, this.fromOrigins))
        session.originSeenAtMs = nowMs
    }
  }

  /** From the origin to the caller. */
  #connect(session: Session): void {
    const { datapath } = this.#options
    const { caller, link, role, meters } = session
    controlFlows(datapath, link.endpoint, link.remote)
    const flow = datapath.addFlow({
      kind: 'forward',
      from: { ...link, match: { offset: DESTINATION_OFFSET, value: callerSocketOf(session) } },
      to: { endpoint: caller.endpoint, remote: addressOf(caller), local: caller.local },
      meters: role === 'play' ? meters.meters : [],
    })
    session.fromOriginFlow = counted(flow)
  }

  /** From the caller, who is or has come here, to the origin. */
  #admit(session: Session, caller: Caller): void {
    const { datapath } = this.#options
    session.caller = caller
    this.#byKey.set(caller.key, session)
    this.#bySource.set(caller.source, this.countOf(caller.source) + 1)
    this.#known.add(session, originSocketOf(session))
    const match = { offset: DESTINATION_OFFSET, value: originSocketOf(session) }
    const flow = datapath.addFlow({
      kind: 'forward',
      from: { endpoint: caller.endpoint, remote: addressOf(caller), match },
      to: session.link,
      meters: session.role === 'publish' ? session.meters.meters : [],
    })
    session.fromCallerFlow = counted(flow)
  }

  #dismissCaller(session: Session): void {
    const { caller } = session
    this.#remove(session.fromCallerFlow, session.fromCaller, this.fromCallers)
    this.#known.remove(session, originSocketOf(session))
    if (!this.#byKey.delete(caller.key)) return
    const left = this.countOf(caller.source) - 1
    if (left > 0) this.#bySource.set(caller.source, left)
    else this.#bySource.delete(caller.source)
  }

  /** A packet of the origin that no flow took. */
  #onOrigin(session: Session, { kind, bytes }: Arrival): void {
    if (session.ended !== undefined) return
    if (kind === 'icmp') {
      this.end(session, 'origin-gone')
      return
    }
    const word = firstWord(bytes)
    // A repeated answer to our conclusion is not the caller's: it has our cookie for the origin.
    if (word === undefined || word === ControlWord.handshake) return
    if (destinationOf(bytes) !== callerSocketOf(session)) return
    if (word === ControlWord.shutdown) {
      this.end(session, 'origin')
      return
    }
    const { datapath, clock } = this.#options
    const { caller } = session
    session.originSeenAtMs = clock.nowMs()
    datapath.send(caller.endpoint, addressOf(caller), bytes, { local: caller.local })
    addPacket(bytes.length, session.fromOrigin, this.fromOrigins)
  }

  #schedule(): void {
    const { clock, idleMs } = this.#options
    this.#timer = clock.after(Math.min(1000, Math.max(10, idleMs / 4)), () => {
      this.#tick()
      this.#schedule()
    })
  }

  #tick(): void {
    this.count()
    const { clock, idleMs } = this.#options
    const deadlineMs = clock.nowMs() - idleMs
    for (const session of [...this]) {
      if (Math.min(session.callerSeenAtMs, session.originSeenAtMs) <= deadlineMs) this.end(session, 'idle')
    }
  }

  #remove(flow: CountedFlow, ...traffic: readonly Traffic[]): void {
    this.#options.datapath.readCounters([flow.flow], this.#counters)
    addMoved(flow, this.#counters, 0, ...traffic)
    this.#options.datapath.removeFlow(flow.flow)
  }
}

/** The origin's answer as if it were ours: with our cookie, and no address but the caller's own. */
function answerFor({ address, conclusion }: Caller, answer: Handshake): Handshake {
  return { ...answer, cookie: conclusion.cookie, peerIp: peerIpBytes(address) }
}

function addressOf({ address, port }: Caller): { readonly address: string; readonly port: number } {
  return { address, port }
}
