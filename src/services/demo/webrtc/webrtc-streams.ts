import type { Clock } from '../../../foundation/clock.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { DemoError, DemoErrorCode } from '../errors.ts'
import { streamPath } from '../stream-name.ts'
import type { StreamEntry, StreamName } from '../stream-name.ts'
import { prepareOffer } from './offer.ts'
import type { MediaKind } from './offer.ts'
import { Peer } from './peer.ts'
import { Publisher } from './publisher.ts'
import type { Senders } from './publisher.ts'
import { withStartBitRate } from './start-bit-rate.ts'
import { loadWerift } from './werift.ts'

export interface WebRtcStreamsOptions {
  readonly log: Logger
  readonly clock: Clock
  /** A peer that sends no STUN check for so long is gone, in milliseconds. */
  readonly idleTimeoutMs: number
  /** Most peers, publishers and viewers together; one more gets 503. */
  readonly maxPeers: number
}

/** A peer was admitted: what WHIP and WHEP answer with. */
export interface Admission {
  readonly answer: string
  /** Names the session in DELETE. */
  readonly token: string
}

/** The WebRTC streams of the origin: who publishes, who watches. */
export class WebRtcStreams {
  readonly #options: WebRtcStreamsOptions
  readonly #publishers = new Map<string, { readonly name: StreamName; publisher?: Publisher }>()
  readonly #peers = new Map<string, Peer>()
  #admitting = 0

  constructor(options: WebRtcStreamsOptions) {
    this.#options = options
  }

  /** @throws DemoError `DEMO_STREAM_BUSY`, `DEMO_TOO_MANY_SESSIONS` and those of `prepareOffer` and `Peer` */
  async publish(name: StreamName, offerSdp: string): Promise<Admission> {
    const key = streamPath(name)
    if (this.#publishers.has(key)) {
      throw new DemoError(DemoErrorCode.streamBusy, `${key} is published already`, 409)
    }
    const offer = prepareOffer(offerSdp)
    // Taken before anything is awaited: a second publisher must not slip in.
    const entry: { readonly name: StreamName; publisher?: Publisher } = { name }
    this.#publishers.set(key, entry)
    const forget = (): void => {
      if (this.#publishers.get(key) === entry) this.#publishers.delete(key)
    }
    try {
      return await this.#admit(async (peer) => {
        peer.onEnded(() => {
          forget()
          for (const viewer of entry.publisher?.viewers.keys() ?? []) void viewer.end()
        })
        entry.publisher = new Publisher(peer, offer.codecs, this.#options.clock)
        return withStartBitRate(await peer.answer(offer))
      })
    } catch (error) {
      forget()
      throw error
    }
  }

  /** @throws DemoError `DEMO_STREAM_NOT_FOUND`, `DEMO_TOO_MANY_SESSIONS` and those of `prepareOffer` and `Peer` */
  async watch(name: StreamName, offerSdp: string): Promise<Admission> {
    const publisher = this.#publishers.get(streamPath(name))?.publisher
    if (publisher === undefined) {
      throw new DemoError(DemoErrorCode.streamNotFound, `nobody publishes ${streamPath(name)}`, 404)
    }
    const offer = prepareOffer(offerSdp, publisher.codecs)
    return this.#admit(async (peer) => {
      publisher.viewers.set(peer, sendersOf(peer, Object.keys(offer.codecs) as MediaKind[], publisher))
      peer.onConnected(() => publisher.requestKeyFrame())
      peer.onEnded(() => publisher.viewers.delete(peer))
      const answer = await peer.answer(offer)
      if (publisher.peer.isEnded) throw new DemoError(DemoErrorCode.streamNotFound, 'the publisher left', 404)
      return answer
    })
  }

  /** @throws DemoError `DEMO_SESSION_NOT_FOUND` */
  async end(token: string): Promise<void> {
    const peer = this.#peers.get(token)
    if (peer === undefined) throw new DemoError(DemoErrorCode.sessionNotFound, 'no such session', 404)
    await peer.end()
  }

  list(): StreamEntry[] {
    return [...this.#publishers.values()].flatMap(({ name, publisher }) =>
      publisher === undefined
        ? []
        : [{ ...name, protocol: 'webrtc' as const, players: publisher.viewers.size }],
    )
  }

  get peerCount(): number {
    return this.#peers.size
  }

  async close(): Promise<void> {
    await Promise.all([...this.#peers.values()].map((peer) => peer.end()))
  }

  async #admit(negotiate: (peer: Peer) => Promise<string>): Promise<Admission> {
    const { clock, idleTimeoutMs, log, maxPeers } = this.#options
    if (this.#peers.size + this.#admitting >= maxPeers) {
      throw new DemoError(DemoErrorCode.tooManySessions, `${maxPeers} sessions are open`, 503)
    }
    this.#admitting++
    const peer = await loadWerift()
      .then((werift) => new Peer({ werift, clock, idleTimeoutMs }))
      .finally(() => this.#admitting--)
    this.#peers.set(peer.token, peer)
    peer.onEnded(() => {
      this.#peers.delete(peer.token)
      log.debug({ peers: this.#peers.size }, 'demo peer ended')
    })
    try {
      return { answer: await negotiate(peer), token: peer.token }
    } catch (error) {
      await peer.end()
      throw error
    }
  }
}

function sendersOf(peer: Peer, kinds: readonly MediaKind[], publisher: Publisher): Senders {
  return new Map(
    kinds.map((kind) => {
      const { sender } = peer.connection.addTransceiver(kind, { direction: 'sendonly' })
      if (kind === 'video') sender.onPictureLossIndication.subscribe(() => publisher.requestKeyFrame())
      return [kind, sender]
    }),
  )
}
