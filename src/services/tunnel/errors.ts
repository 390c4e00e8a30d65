import { SluiceError, type Side } from '../../foundation/errors.ts'

/** Codes of `TunnelError`, with what to do about each. The message of those that a peer is told is in frp's words. */
export const TunnelErrorCode = {
  /** The peer did not speak frp, or broke its rules; the message says how. Check what connects to the port. */
  protocol: 'TUNNEL_PROTOCOL',
  /** A time ran out; the message says which. */
  timeout: 'TUNNEL_TIMEOUT',
  /** Token, OIDC token or scope did not hold. Compare `auth` of both sides. */
  unauthorized: 'TUNNEL_UNAUTHORIZED',
  /** What was asked for is beyond the rights of the token, or a limit. */
  forbidden: 'TUNNEL_FORBIDDEN',
  /** Another proxy has the name. */
  proxyNameTaken: 'TUNNEL_PROXY_NAME_TAKEN',
  /** A remote port cannot be had. */
  port: 'TUNNEL_PORT',
  /** Another proxy has the domain, location and user. */
  routeTaken: 'TUNNEL_ROUTE_TAKEN',
  /** The members of a group do not agree. */
  group: 'TUNNEL_GROUP',
  /** A proxy's fields are not as its type wants them, or the server has no port for the type. */
  badProxy: 'TUNNEL_BAD_PROXY',
  /** frp has it, this program does not; the message says what. */
  unsupported: 'TUNNEL_UNSUPPORTED',
  /** No client serves the proxy at the moment, or none gave a work connection in time. */
  noBackend: 'TUNNEL_NO_BACKEND',
  /** The server cannot be reached. */
  unreachable: 'TUNNEL_UNREACHABLE',
  /** The server refused the login; the message is its own. */
  loginRefused: 'TUNNEL_LOGIN_REFUSED',
  /** The link or the service is closed. */
  closed: 'TUNNEL_CLOSED',
  /** A setting cannot be used; the message names it. */
  badOption: 'TUNNEL_BAD_OPTION',
} as const

export type TunnelErrorCode = (typeof TunnelErrorCode)[keyof typeof TunnelErrorCode]

/** What goes wrong in the tunnel role. `side` client is frpc or a user, origin is the server as seen by frpc. */
export class TunnelError extends SluiceError {
  override readonly name = 'TunnelError'

  constructor(
    code: TunnelErrorCode,
    message: string,
    options: { readonly side: Side; readonly retryable?: boolean; readonly cause?: unknown },
  ) {
    super(code, message, { retryable: false, ...options })
  }
}
