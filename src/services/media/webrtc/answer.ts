import {
  type IceCredentials,
  iceCredentials,
  SessionDescription,
  withPublicCandidates,
} from '../../../protocols/sdp/index.ts'
import type { MediaPlane } from './media-plane.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import { publicAddressesFor } from './public-addresses.ts'
import type { IceIdentity } from './session.ts'

/** An origin's SDP, read: what identifies the session, and the text itself. */
export interface ReadAnswer {
  readonly description: SessionDescription
  readonly credentials: IceCredentials | undefined
}

/** `undefined` for what is no SDP. */
export function readAnswer(body: Uint8Array, fragment: boolean, maxBytes: number): ReadAnswer | undefined {
  const description = SessionDescription.parse(body, { maxBytes, fragment })
  return typeof description === 'string'
    ? undefined
    : { description, credentials: iceCredentials(description) }
}

/** The bytes for the client: with the gateway's candidates in place of the origin's. */
export function publicAnswer(
  description: SessionDescription,
  requestAddress: string | undefined,
  media: MediaPlane,
  { publicAddresses }: CompleteWebRtcOptions,
): Buffer {
  const addresses = publicAddressesFor(publicAddresses, requestAddress, media.locals)
  return withPublicCandidates(description, addresses).toBytes()
}

/** The USERNAME of the client's STUN requests (RFC 8445 §7.2.2), and what signs them. */
export function identityOf(answer: IceCredentials, offer: IceCredentials): IceIdentity {
  return { username: `${answer.ufrag}:${offer.ufrag}`, password: Buffer.from(answer.pwd) }
}
