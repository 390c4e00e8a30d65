import { type Handshake, HandshakeType, HSV5_MAGIC } from './handshake.ts'
import { peerIpBytes } from './peer-ip.ts'

/** Who is answered. */
export interface InductionAnswerOptions {
  readonly cookie: number
  /** The caller's, as it is seen here. */
  readonly address: string
  readonly timestampUs: number
}

/** A listener's answer to an induction; as long as what it answers, so that nothing is amplified. */
export function inductionAnswer(
  induction: Handshake,
  { cookie, address, timestampUs }: InductionAnswerOptions,
): Handshake {
  return {
    ...induction,
    timestampUs,
    destination: induction.socketId,
    version: 5,
    // The caller's choice of a key length stands.
    encryption: 0,
    extensionField: HSV5_MAGIC,
    // A listener has no socket for the caller yet.
    socketId: induction.socketId,
    cookie,
    peerIp: peerIpBytes(address),
    extensions: [],
  }
}

/** The induction that a caller with this conclusion would begin with, for another listener. */
export function inductionOf(conclusion: Handshake): Handshake {
  return {
    ...conclusion,
    destination: 0,
    type: HandshakeType.induction,
    // As callers of version 5 say it, since a listener may be older: version 4 and the socket type "datagram".
    version: 4,
    encryption: 0,
    extensionField: 2,
    cookie: 0,
    extensions: [],
  }
}
