import { errorCode } from '../../../foundation/errors.ts'
import {
  ALL_THREADS,
  type Arrival,
  type Endpoint,
  type LocalAddress,
} from '../../../mechanisms/datapath/index.ts'
import type { ListenAddress } from '../../../mechanisms/net/index.ts'
import {
  ControlWord,
  decodeHandshake,
  encodeHandshake,
  firstWord,
  HandshakeType,
  inductionAnswer,
  SynCookies,
} from '../../../protocols/srt/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import { callerOf } from './caller.ts'
import type { Calls } from './calls.ts'
import type { CompleteSrtOptions } from './options.ts'
import type { Sessions } from './sessions.ts'

/** Why a datagram was dropped; the labels of its metric. */
export const DROP_REASONS = [
  /** Too short for SRT, or a handshake whose lengths do not fit. */
  'malformed',
  /** Neither induction nor conclusion, such as of a rendezvous. */
  'not-caller',
  /** A conclusion without a cookie that was given to this address. */
  'bad-cookie',
  /** For a socket that this address has no session with. */
  'unknown-session',
] as const
export type DropReason = (typeof DROP_REASONS)[number]

/** Below this, some hundred large datagrams that come at once do not fit. */
const wantedReceiveBufferBytes = 1024 * 1024

/**
 * The ports on which callers are heard. An induction is answered with a cookie, and nothing is kept of it; who brings
 * that cookie back receives at the address it sends from, and only then is something begun for it.
 */
export class Front {
  readonly dropped: Record<DropReason, number> = {
    malformed: 0,
    'not-caller': 0,
    'bad-cookie': 0,
    'unknown-session': 0,
  }
  /** Inductions that were answered. */
  inductions = 0
  readonly #options: CompleteSrtOptions
  readonly #calls: Calls
  readonly #sessions: Sessions
  readonly #cookies: SynCookies
  readonly #log: LinePace
  #endpoints: readonly Endpoint[] = []

  constructor(options: CompleteSrtOptions, calls: Calls, sessions: Sessions) {
    this.#options = options
    this.#calls = calls
    this.#sessions = sessions
    this.#cookies = new SynCookies(options.random(32))
    this.#log = new LinePace(options.clock)
  }

  /** Where callers are heard at present. */
  get locals(): readonly LocalAddress[] {
    return this.#endpoints.flatMap(({ locals }) => locals)
  }

  /** @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE; what was bound is closed again */
  async start(): Promise<void> {
    if (this.#endpoints.length > 0) return
    try {
      for (const listen of this.#options.listen) {
        this.#endpoints = this.#endpoints.concat(await this.#open(listen))
      }
    } catch (error) {
      this.close()
      throw error
    }
  }

  close(): void {
    for (const { id } of this.#endpoints) this.#options.datapath.closeEndpoint(id)
    this.#endpoints = []
  }

  async #open({ host, port }: ListenAddress): Promise<Endpoint> {
    const { datapath, logger } = this.#options
    const addresses = host === undefined ? ['0.0.0.0', '::'] : [host]
    const endpoint = await datapath.openEndpoint({ addresses, port, threads: ALL_THREADS }, this.#receive)
    const { receiveBufferBytes } = endpoint
    logger.info({ port: endpoint.port, receiveBufferBytes }, 'SRT port bound')
    if (receiveBufferBytes < wantedReceiveBufferBytes) {
      logger.warn(
        { port: endpoint.port, receiveBufferBytes, wantedReceiveBufferBytes },
        'small receive buffer, bursts may be lost; raise net.core.rmem_max',
      )
    }
    return endpoint
  }

  readonly #receive = (arrival: Arrival): void => {
    if (arrival.kind === 'icmp') return
    try {
      const dropped = this.#take(arrival)
      if (dropped !== undefined) this.dropped[dropped]++
    } catch (error) {
      // The datapath refused a flow or a datagram; the others go on.
      const code = errorCode(error)
      const due = this.#log.due(code)
      if (due !== undefined) {
        this.#options.logger.error({ code, err: error, ...due }, 'a datagram could not be handled')
      }
    }
  }

  #take(arrival: Arrival): DropReason | undefined {
    const word = firstWord(arrival.bytes)
    if (word === undefined) return 'malformed'
    if (word === ControlWord.handshake) return this.#onHandshake(arrival)
    return this.#sessions.onCaller(arrival) ? undefined : 'unknown-session'
  }

  #onHandshake(arrival: Arrival): DropReason | undefined {
    const { endpoint, local, address, port, bytes } = arrival
    const { datapath, clock } = this.#options
    const handshake = decodeHandshake(bytes)
    if (typeof handshake === 'string' || handshake.socketId === 0) return 'malformed'
    const { type, cookie, socketId } = handshake
    const owner = { address, port, socketId }
    const nowMs = clock.nowMs()
    if (type === HandshakeType.induction) {
      const given = this.#cookies.cookieFor(owner, nowMs)
      const answer = inductionAnswer(handshake, { cookie: given, address, timestampUs: 1000 * nowMs })
      this.inductions++
      datapath.send(endpoint, { address, port }, encodeHandshake(answer), { local })
      return undefined
    }
    if (type !== HandshakeType.conclusion) return 'not-caller'
    if (!this.#cookies.isValid(cookie, owner, nowMs)) return 'bad-cookie'
    this.#calls.take(callerOf(arrival))
    return undefined
  }
}
