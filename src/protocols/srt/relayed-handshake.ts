import { decodeHandshake, encodeHandshake, type Handshake, HandshakeType, HSV5_MAGIC } from './handshake.ts'
import { inductionOf } from './induction.ts'
import { rejectReasonOf } from './rejection.ts'

/** What a datagram of the origin has brought about. */
export type RelayedHandshakeStep =
  /** It says nothing about this handshake. */
  | { readonly kind: 'ignored' }
  /** The next packet is to be sent. */
  | { readonly kind: 'next' }
  /** The origin has opened a socket for the caller; this is its answer. */
  | { readonly kind: 'accepted'; readonly answer: Handshake }
  /** The origin has refused, for a reason of `RejectReason` or its own. */
  | { readonly kind: 'rejected'; readonly reason: number }
  /** What it says makes no sense; it is too old, for example. */
  | { readonly kind: 'broken'; readonly why: string }

/**
 * A caller's conclusion, taken to a listener that knows nothing of it yet: the handshake from the induction on, in the
 * caller's name. All of the conclusion but the cookie is the caller's, encryption too.
 */
export class RelayedHandshake {
  readonly #conclusion: Handshake
  #cookie: number | undefined

  constructor(conclusion: Handshake) {
    this.#conclusion = conclusion
  }

  /** What the listener is to be sent now, and again until there is an answer. */
  get packet(): Buffer {
    const cookie = this.#cookie
    return encodeHandshake(
      cookie === undefined ? inductionOf(this.#conclusion) : { ...this.#conclusion, destination: 0, cookie },
    )
  }

  /** Takes a datagram of the listener; the answer holds views of it. */
  receive(datagram: Uint8Array): RelayedHandshakeStep {
    const answer = decodeHandshake(datagram)
    if (typeof answer === 'string' || answer.destination !== this.#conclusion.socketId) return ignored
    const reason = rejectReasonOf(answer)
    if (reason !== undefined) return { kind: 'rejected', reason }
    if (answer.type === HandshakeType.induction) {
      // The answer to an induction that was sent twice.
      if (this.#cookie !== undefined) return ignored
      if (answer.version < 5 || answer.extensionField !== HSV5_MAGIC) {
        return { kind: 'broken', why: `handshake version ${answer.version}` }
      }
      this.#cookie = answer.cookie
      return { kind: 'next' }
    }
    if (answer.type !== HandshakeType.conclusion || this.#cookie === undefined) return ignored
    if (answer.socketId === 0) return { kind: 'broken', why: 'no socket id' }
    return { kind: 'accepted', answer }
  }
}

const ignored = { kind: 'ignored' } as const
