import { randomBytes } from 'node:crypto'
import type { RTCPeerConnection, RTCRtpCodecParameters } from 'werift'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorMessage } from '../../../foundation/errors.ts'
import { DemoError, DemoErrorCode } from '../errors.ts'
import type { PreparedOffer } from './offer.ts'
import type { WeriftModule } from './werift.ts'

/** What a `Peer` stands on. */
export interface PeerOptions {
  readonly werift: WeriftModule
  readonly clock: Clock
  /** Without a STUN check for so long the peer is gone, in milliseconds. */
  readonly idleTimeoutMs: number
}

/**
 * One WebRTC peer: an ICE-lite connection on loopback, known by an unguessable token. It ends by itself when the
 * connection fails or when the peer's consent checks (RFC 7675) stop.
 */
export class Peer {
  readonly token: string = randomBytes(16).toString('hex')
  readonly connection: RTCPeerConnection
  readonly #options: PeerOptions
  readonly #onConnected: (() => void)[] = []
  readonly #onEnded: (() => void)[] = []
  #idleTimer: Timer | undefined
  #lastSeenMs: number
  #ended: Promise<void> | undefined

  constructor(options: PeerOptions) {
    const { werift, clock } = options
    this.#options = options
    this.#lastSeenMs = clock.nowMs()
    this.connection = new werift.RTCPeerConnection({
      iceLite: true,
      // One transport from the start: those that bundling makes superfluous would never be closed.
      bundlePolicy: 'max-bundle',
      iceServers: [],
      // No address of the machine's interfaces, then loopback added: nothing is bound elsewhere.
      iceUseIpv4: false,
      iceUseIpv6: false,
      iceInterfaceAddresses: { udp4: LOOPBACK },
      iceAdditionalHostAddresses: [LOOPBACK],
      iceFilterStunResponse: (request, [address, port]) => {
        this.#lastSeenMs = clock.nowMs()
        if (request.attributesKeys.includes('USE-CANDIDATE')) this.#followTo(address, port)
        return true
      },
      codecs: codecs(werift),
      headerExtensions: {},
    })
    this.connection.connectionStateChange.subscribe((state) => {
      if (state === 'connected') for (const call of this.#onConnected) call()
      if (state === 'failed' || state === 'closed' || state === 'disconnected') void this.end()
    })
    this.#watchIdle()
  }

  get isEnded(): boolean {
    return this.#ended !== undefined
  }

  onConnected(call: () => void): void {
    this.#onConnected.push(call)
  }

  onEnded(call: () => void): void {
    this.#onEnded.push(call)
  }

  /**
   * The SDP answer to `offer`; all candidates are in it.
   * @throws DemoError `DEMO_OFFER_INVALID`
   */
  async answer(offer: PreparedOffer): Promise<string> {
    try {
      await this.connection.setRemoteDescription({ type: 'offer', sdp: offer.sdp })
      await this.connection.setLocalDescription(await this.connection.createAnswer())
      return this.connection.localDescription?.sdp ?? ''
    } catch (cause) {
      throw new DemoError(
        DemoErrorCode.offerInvalid,
        `the offer cannot be answered: ${errorMessage(cause)}`,
        400,
        cause,
      )
    }
  }

  /** Ends the connection; never rejects. */
  end(): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  async #end(): Promise<void> {
    this.#idleTimer?.cancel()
    // Not within the caller's turn: it may be an event of the connection that is to be closed.
    await Promise.resolve()
    for (const call of this.#onEnded) call()
    try {
      await this.connection.close()
    } catch {
      // The connection was half open; nothing is left to close.
    }
  }

  /**
   * A client whose media comes by another gateway nominates its path anew. werift keeps the pair that was nominated first,
   * unless there is none.
   */
  #followTo(address: string, port: number): void {
    for (const { connection } of this.connection.iceTransports) {
      const [nominatedAddress, nominatedPort] = connection.nominated?.remoteAddr ?? [address, port]
      if (nominatedAddress !== address || nominatedPort !== port) delete connection.nominated
    }
  }

  #watchIdle(): void {
    const { clock, idleTimeoutMs } = this.#options
    const quietMs = clock.nowMs() - this.#lastSeenMs
    if (quietMs >= idleTimeoutMs) void this.end()
    else this.#idleTimer = clock.after(idleTimeoutMs - quietMs, () => this.#watchIdle())
  }
}

const LOOPBACK = '127.0.0.1'

function codecs(werift: WeriftModule): { audio: RTCRtpCodecParameters[]; video: RTCRtpCodecParameters[] } {
  return { audio: [werift.useOPUS()], video: [werift.useVP8(), werift.useH264()] }
}
