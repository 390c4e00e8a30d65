import { createHash } from 'node:crypto'
import { sourceOf } from '../../../foundation/source-of.ts'
import type { Arrival, EndpointId, Remote } from '../../../mechanisms/datapath/index.ts'
import { decodeHandshake, encodeHandshake, type Handshake } from '../../../protocols/srt/index.ts'

/** Whoever sent a conclusion with a good cookie. */
export interface Caller extends Remote {
  readonly endpoint: EndpointId
  /** The local address that it called. */
  readonly local: number
  readonly conclusion: Handshake
  /** Its address, as limits are counted. */
  readonly source: string
  /** Its address, port and socket id: calls with the same key are one after the other. */
  readonly key: string
  /** A hash of all that it concluded with; see `Sessions.move`. */
  readonly proof: string
}

/** The caller of a datagram that `decodeHandshake` takes; keeps nothing of it. */
export function callerOf({ endpoint, local, address, port, bytes }: Arrival): Caller {
  const conclusion = decodeHandshake(Buffer.from(bytes))
  if (typeof conclusion === 'string') throw new Error('the datagram was decoded before')
  return {
    endpoint,
    local,
    address,
    port,
    conclusion,
    source: sourceOf(address),
    key: `${endpoint} ${address} ${port} ${conclusion.socketId}`,
    proof: proofOf(conclusion),
  }
}

/** The same for each repetition of a conclusion, also from elsewhere and with another cookie. */
function proofOf(conclusion: Handshake): string {
  const constant = { ...conclusion, info: 0, timestampUs: 0, cookie: 0, peerIp: new Uint8Array(16) }
  return createHash('sha256').update(encodeHandshake(constant)).digest('base64')
}
