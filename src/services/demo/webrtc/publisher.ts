import type { MediaStreamTrack, RTCRtpReceiver, RTCRtpSender, RtpPacket } from 'werift'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import type { Codecs, MediaKind } from './offer.ts'
import type { Peer } from './peer.ts'

/** Where a viewer takes packets: one sender per kind of media. */
export type Senders = ReadonlyMap<MediaKind, RTCRtpSender>

/**
 * The publisher of a stream and the viewers who watch it. Packets go to each viewer with payload, sequence number and
 * timestamp as they came.
 */
export class Publisher {
  readonly codecs: Codecs
  readonly peer: Peer
  readonly viewers: Map<Peer, Senders> = new Map()
  readonly #clock: Clock
  #video: { readonly receiver: RTCRtpReceiver; readonly track: MediaStreamTrack } | undefined
  #keyFrameAskedMs = Number.NEGATIVE_INFINITY
  #keyFrameTimer: Timer | undefined

  constructor(peer: Peer, codecs: Codecs, clock: Clock) {
    this.peer = peer
    this.codecs = codecs
    this.#clock = clock
    peer.onEnded(() => this.#keyFrameTimer?.cancel())
    const seen = new Set<MediaKind>()
    peer.connection.ontrack = ({ track, receiver }) => {
      if (seen.has(track.kind as MediaKind)) return
      seen.add(track.kind as MediaKind)
      if (track.kind === 'video') this.#video = { receiver, track }
      track.onReceiveRtp.subscribe((packet) => this.#forward(track.kind as MediaKind, packet))
    }
  }

  /**
   * Asks the publisher for a key frame, at most twice a second however many viewers want one; who asks too early is
   * served by one later request, since the key frame of the last may have passed already.
   */
  requestKeyFrame(): void {
    const waitMs = this.#keyFrameAskedMs + KEY_FRAME_INTERVAL_MS - this.#clock.nowMs()
    if (waitMs <= 0) this.#sendPictureLossIndication()
    else this.#keyFrameTimer ??= this.#clock.after(waitMs, () => this.#sendPictureLossIndication())
  }

  #sendPictureLossIndication(): void {
    this.#keyFrameTimer?.cancel()
    this.#keyFrameTimer = undefined
    const { ssrc } = this.#video?.track ?? {}
    if (ssrc === undefined || this.peer.isEnded) return
    this.#keyFrameAskedMs = this.#clock.nowMs()
    // sendRtcpPLI catches its own errors.
    void this.#video?.receiver.sendRtcpPLI(ssrc)
  }

  #forward(kind: MediaKind, packet: RtpPacket): void {
    for (const senders of this.viewers.values()) {
      const sender = senders.get(kind)
      if (sender === undefined) continue
      // The sender changes the packet and keeps it for retransmission, so each viewer has a header of its own.
      // Extensions are numbered per connection; padding was taken off with the payload's end.
      const copy = packet.clone()
      copy.header.extensions = []
      copy.header.extension = false
      copy.header.padding = false
      copy.header.paddingSize = 0
      sender.sendRtp(copy).catch(() => {
        // Lost on the way out, as datagrams are; the viewer asks again.
      })
    }
  }
}

const KEY_FRAME_INTERVAL_MS = 500
