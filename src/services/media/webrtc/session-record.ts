import { createHash } from 'node:crypto'
import type { RtcSession } from '../../../mechanisms/balancer/index.ts'
import { authorityOf } from './origin-client.ts'
import type { OriginResource } from './origin-links.ts'
import type { IceIdentity, SessionFacts } from './session.ts'

/** What is stored beside the facts of a session. */
export interface RecordedState {
  readonly etag: string | undefined
  /** Wall time at which it must end, in milliseconds. */
  readonly untilMs: number | undefined
  readonly previous: string | undefined
}

/** What other gateways are told of a session. */
export function recordOf(
  facts: SessionFacts,
  { username, password }: IceIdentity,
  { etag, untilMs, previous }: RecordedState,
): RtcSession {
  const { streamKey, role, originId, originMedia, tokenHash, atOrigin, id } = facts
  const { clientAddress, sinceMs, hasTcp } = facts
  return {
    streamKey,
    role,
    username,
    originId,
    originAddress: originMedia.address,
    originPort: originMedia.port,
    ...(password !== undefined && { icePassword: password.toString() }),
    ...(tokenHash !== undefined && {
      resource: {
        id,
        tokenHash,
        ...(atOrigin !== undefined && { originUrl: urlOf(atOrigin) }),
        ...(etag !== undefined && { etag }),
        clientAddress,
        sinceMs,
        hasTcp,
        ...(untilMs !== undefined && { untilMs }),
        ...(previous !== undefined && { previous }),
      },
    }),
  }
}

/** Undefined when the record has no password. */
export function identityIn({ username, icePassword }: RtcSession): IceIdentity | undefined {
  return icePassword === undefined ? undefined : { username, password: Buffer.from(icePassword) }
}

/** Names a session among those of all gateways. */
export function sessionIdOf(random: (bytes: number) => Buffer): string {
  return `webrtc-${random(8).toString('hex')}`
}

/** How a token is known: whoever can read a table or a store must not be able to end its sessions. */
export function tokenHashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** With the host that is dialled, not the name that a client called it by. */
function urlOf({ api: { scheme, host, port }, target }: OriginResource): string {
  return `${scheme}://${authorityOf(host, port)}${target}`
}
