import { CredentialError } from './errors.ts'
import { opaqueString, opaqueStringRefusal } from './opaque-string.ts'
import { timeLimitedPassword } from './time-limited.ts'

/** What time-limited credentials are handed out with. */
export interface CredentialIssuer {
  /** The first of those that the TURN servers know. */
  readonly secret: string
  /** @defaultValue ':' */
  readonly separator?: string
  /** Where the TURN servers are: `turn:host:port?transport=udp`, `turns:`, `stun:` (RFC 7064, RFC 7065). */
  readonly uris: readonly string[]
}

/** Whose credential it is to be, and for how long. */
export interface CredentialOrder extends CredentialIssuer {
  readonly ttlSeconds: number
  /** Who it is for; quotas and events name the user so. @defaultValue nobody in particular */
  readonly userId?: string
  /** The time of now, in milliseconds since the Unix epoch. */
  readonly wallMs: number
}

/** What draft-uberti-behave-turn-rest §2.2 answers with. */
export interface RestCredential {
  readonly username: string
  readonly password: string
  /** Seconds from now. */
  readonly ttl: number
  readonly uris: readonly string[]
}

/** Which paths a browser may take: every one, or only relayed ones. */
export type IceTransportPolicy = 'all' | 'relay'

/** What `new RTCPeerConnection()` takes. */
export interface IceConfiguration {
  readonly iceServers: readonly {
    readonly urls: readonly string[]
    readonly username: string
    readonly credential: string
  }[]
  readonly iceTransportPolicy?: IceTransportPolicy
}

/**
 * Makes a time-limited credential, which every server that knows the secret takes.
 *
 * @throws TURN_CREDENTIAL_BAD_REQUEST for a user id that is too long, has the separator in it, or that RFC 8265 does not allow
 */
export function issueCredential(order: CredentialOrder): RestCredential {
  const { secret, separator = ':', uris, ttlSeconds, userId, wallMs } = order
  const expires = String(Math.floor(wallMs / 1000) + ttlSeconds)
  const username = userId === undefined ? expires : `${expires}${separator}${checkUserId(userId, separator)}`
  return { username, password: timeLimitedPassword(secret, username), ttl: ttlSeconds, uris }
}

/** The same for browsers. @throws TURN_CREDENTIAL_NO_URIS, since a browser refuses a server without one */
export function iceConfigurationOf(
  { username, password, uris }: RestCredential,
  iceTransportPolicy?: IceTransportPolicy,
): IceConfiguration {
  if (uris.length === 0) {
    throw new CredentialError(
      'TURN_CREDENTIAL_NO_URIS',
      'no URI of a TURN server is configured (turn.uris)',
      {
        status: 503,
      },
    )
  }
  return {
    iceServers: [{ urls: uris, username, credential: password }],
    ...(iceTransportPolicy !== undefined && { iceTransportPolicy }),
  }
}

/** A USERNAME has fewer than 509 bytes (RFC 8489 §14.3); this leaves room for the time. */
const maxUserIdBytes = 480

function checkUserId(userId: string, separator: string): string {
  const prepared = opaqueString(userId)
  if (prepared === undefined) throw badRequest(`the user id ${opaqueStringRefusal}`)
  if (prepared.includes(separator)) throw badRequest(`the user id holds "${separator}", which ends the time`)
  if (Buffer.byteLength(prepared) > maxUserIdBytes) {
    throw badRequest(`the user id has more than ${maxUserIdBytes} bytes`)
  }
  return prepared
}

/** A fault of whoever asks for credentials. */
export function badRequest(message: string): CredentialError {
  return new CredentialError('TURN_CREDENTIAL_BAD_REQUEST', message, { side: 'client', status: 400 })
}
