import {
  encodeErrorCode,
  encodeUnknownAttributes,
  StunAttribute,
  StunClass,
  type StunMessage,
  StunWriter,
} from '../../../protocols/stun/index.ts'
import type { Allocation } from './allocation.ts'
import type { Identity } from './authenticator.ts'
import type { Client } from './client.ts'
import type { Refusal } from './outcome.ts'

/** A request whose sender has proved who it is, with what its answer needs. */
export interface TurnRequest {
  readonly message: StunMessage
  readonly client: Client
  readonly identity: Identity
  readonly nowMs: number
  readonly wallMs: number
}

/** A request on an allocation that is the sender's. */
export interface AllocationRequest extends TurnRequest {
  readonly allocation: Allocation
}

/** Begins a success. */
export function beginSuccess({ message }: Pick<TurnRequest, 'message'>): StunWriter {
  return new StunWriter(message.method, StunClass.success, message.transactionId)
}

/** Signs and ends an answer, as the request was signed (RFC 8489 §9.2.4). */
export function sign(writer: StunWriter, { message, identity }: TurnRequest): Buffer {
  if (identity.isSha256) writer.integritySha256(identity.key)
  else writer.integrity(identity.key)
  return finish(writer, message)
}

/** Ends an answer; it has a FINGERPRINT where the request had one. */
export function finish(writer: StunWriter, message: StunMessage): Buffer {
  if (message.fingerprintOffset !== undefined) writer.fingerprint()
  return writer.finish()
}

/** Begins a refusal. The reason is for people who look at packets, and only of those who are known: it costs bytes. */
export function beginError(message: StunMessage, code: number, isKnown: boolean): StunWriter {
  const reason = isKnown ? (reasons[code] ?? '') : ''
  return new StunWriter(message.method, StunClass.error, message.transactionId).attribute(
    StunAttribute.errorCode,
    encodeErrorCode({ code, reason }),
  )
}

/** Attributes that no request may be refused for: all that this server understands (RFC 8489 §6.3.1). */
const known: ReadonlySet<number> = new Set([
  StunAttribute.mappedAddress,
  StunAttribute.username,
  StunAttribute.messageIntegrity,
  StunAttribute.messageIntegritySha256,
  StunAttribute.passwordAlgorithm,
  StunAttribute.userhash,
  StunAttribute.errorCode,
  StunAttribute.unknownAttributes,
  StunAttribute.channelNumber,
  StunAttribute.lifetime,
  StunAttribute.xorPeerAddress,
  StunAttribute.data,
  StunAttribute.realm,
  StunAttribute.nonce,
  StunAttribute.xorRelayedAddress,
  StunAttribute.requestedAddressFamily,
  StunAttribute.evenPort,
  StunAttribute.requestedTransport,
  StunAttribute.dontFragment,
  StunAttribute.accessToken,
  StunAttribute.xorMappedAddress,
  StunAttribute.reservationToken,
  StunAttribute.priority,
  StunAttribute.useCandidate,
  StunAttribute.padding,
  StunAttribute.connectionId,
])

/** The refusal of a request with attributes that must be understood and are not, or undefined. */
export function unknownAttributes(message: StunMessage): Refusal | undefined {
  const unknown = message.unknownRequired(known)
  if (unknown.length === 0) return undefined
  return {
    code: 420,
    // A request can name more than an answer should carry.
    add: (writer) =>
      writer.attribute(StunAttribute.unknownAttributes, encodeUnknownAttributes(unknown.slice(0, maxNamed))),
  }
}

const maxNamed = 16

/** Reference: error codes. */
const reasons: Readonly<Record<number, string>> = {
  300: 'Try Alternate',
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Mobility Forbidden',
  420: 'Unknown Attribute',
  437: 'Allocation Mismatch',
  440: 'Address Family not Supported',
  441: 'Wrong Credentials',
  442: 'Unsupported Transport Protocol',
  443: 'Peer Address Family Mismatch',
  446: 'Connection Already Exists',
  447: 'Connection Timeout or Failure',
  486: 'Allocation Quota Reached',
  500: 'Server Error',
  508: 'Insufficient Capacity',
}
