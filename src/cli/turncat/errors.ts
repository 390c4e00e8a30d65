import { type Side, SluiceError } from '../../foundation/errors.ts'

/** Codes of `sluice turncat`, with what to do about each. */
export const TurncatErrorCode = {
  /** A CLIENT, TURN or PEER that cannot be read; the message says which and what it can be. */
  uriInvalid: 'TURNCAT_URI_INVALID',
  /** An option that cannot be read; the message says what it can be. */
  optionInvalid: 'TURNCAT_OPTION_INVALID',
  /** `k8s://` was given; name the server's address instead, as `turn://user:password@host:port?transport=udp`. */
  kubernetesUnsupported: 'TURNCAT_K8S_UNSUPPORTED',
  /** Neither the URI nor the environment says who we are; the message names the ways to. */
  noCredentials: 'TURNCAT_NO_CREDENTIALS',
  /** DTLS without `--insecure`: certificates cannot be checked there. Use `transport=tls`, or accept that. */
  dtlsUnverified: 'TURNCAT_DTLS_UNVERIFIED',
  /** The server cannot be reached, or its certificate is not good; the message has the cause. */
  serverUnreachable: 'TURNCAT_SERVER_UNREACHABLE',
  /** The server refused; the message has its code and what for. */
  serverRefused: 'TURNCAT_SERVER_REFUSED',
  /** The server closed the connection, or no longer answers. Try again. */
  serverLost: 'TURNCAT_SERVER_LOST',
  /** The local end cannot be opened: taken, forbidden, or not of this machine. */
  listenFailed: 'TURNCAT_LISTEN_FAILED',
} as const
export type TurncatErrorCode = (typeof TurncatErrorCode)[keyof typeof TurncatErrorCode]

/** What ends a tunnel, or keeps one from being. */
export class TurncatError extends SluiceError {
  override readonly name = 'TurncatError'

  constructor(code: TurncatErrorCode, message: string, cause?: unknown) {
    super(code, message, { side: sides[code], retryable: retryable.has(code), cause })
  }
}

const sides: Record<TurncatErrorCode, Side> = {
  TURNCAT_URI_INVALID: 'client',
  TURNCAT_OPTION_INVALID: 'client',
  TURNCAT_K8S_UNSUPPORTED: 'client',
  TURNCAT_NO_CREDENTIALS: 'client',
  TURNCAT_DTLS_UNVERIFIED: 'client',
  TURNCAT_SERVER_UNREACHABLE: 'origin',
  TURNCAT_SERVER_REFUSED: 'origin',
  TURNCAT_SERVER_LOST: 'origin',
  TURNCAT_LISTEN_FAILED: 'self',
}

const retryable: ReadonlySet<TurncatErrorCode> = new Set([
  TurncatErrorCode.serverUnreachable,
  TurncatErrorCode.serverLost,
])
