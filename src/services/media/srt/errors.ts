import { SluiceError, type SluiceErrorOptions } from '../../../foundation/errors.ts'
import { RejectReason } from '../../../protocols/srt/index.ts'

/** Codes of the SRT service, and what to do about each. */
export type SrtErrorCode =
  /** The stream id cannot be read, or could be read in two ways: the message says what is wrong. */
  | 'SRT_BAD_STREAM_ID'
  /** The caller named no stream, and there is no `defaultStreamId`: set one, or let it send a stream id. */
  | 'SRT_NO_STREAM_ID'
  /** The caller speaks SRT before 1.3 (handshake version 4): update it. */
  | 'SRT_OLD_VERSION'
  /** The gateway is shutting down: call again, at another one. */
  | 'SRT_DRAINING'
  /** `maxSessions`, or `maxSessionsPerSource`, are live: raise it, or add a gateway. */
  | 'SRT_TOO_MANY_SESSIONS'
  /** `maxDialogues`, or `maxDialoguesPerSource`, are under way: origins are slow, or somebody calls too often. */
  | 'SRT_TOO_MANY_DIALOGUES'
  /** Nothing is there at the origin's address: see whether it runs and its address is right. */
  | 'SRT_ORIGIN_UNREACHABLE'
  /** The origin did not answer within `originTimeoutMs`: see what keeps it. */
  | 'SRT_ORIGIN_TIMEOUT'
  /** The origin refused the caller: the reason is its own. */
  | 'SRT_ORIGIN_REFUSED'
  /** What the origin answered makes no sense: see what listens at its address. */
  | 'SRT_ORIGIN_BROKEN'
  /** Two origins gave one caller's port the same socket id: call again. */
  | 'SRT_SOCKET_ID_TAKEN'
  /** All of it took longer than `dialogueTimeoutMs`, or nobody wants the answer any more. */
  | 'SRT_DIALOGUE_TIMEOUT'
  /** An option is out of range: the message names it. */
  | 'SRT_BAD_OPTION'

/** What ends an SRT call, or keeps one from beginning. Its message may name an origin: it is for the log. */
export class SrtError extends SluiceError {
  override readonly name = 'SrtError'
  declare readonly code: SrtErrorCode
  /** What the caller is told. */
  readonly reason: number

  constructor(
    code: SrtErrorCode,
    message: string,
    options: Partial<SluiceErrorOptions> & { readonly reason?: number } = {},
  ) {
    const { side = 'client', retryable = false, reason = RejectReason.badRequest, cause } = options
    super(code, message, { side, retryable, cause })
    this.reason = reason
  }
}

/** Of a caller's port with several sessions, whose packets could not be told apart. */
export function socketIdTaken(): SrtError {
  return new SrtError('SRT_SOCKET_ID_TAKEN', 'this port of the caller has a session of that socket id', {
    side: 'self',
    retryable: true,
    reason: RejectReason.resource,
  })
}

/** What a caller is told when this error ends its call. */
export function rejectReasonFor(error: unknown): number {
  if (error instanceof SrtError) return error.reason
  if (!(error instanceof SluiceError)) return RejectReason.internalServerError
  if (error.code === 'BALANCER_PROTOCOL_NOT_OFFERED') return RejectReason.notFound
  return reasonByStatus[error.status ?? 500] ?? RejectReason.internalServerError
}

const reasonByStatus: Readonly<Record<number, number>> = {
  400: RejectReason.badRequest,
  401: RejectReason.unauthorized,
  403: RejectReason.forbidden,
  404: RejectReason.notFound,
  409: RejectReason.conflict,
  429: RejectReason.overload,
  502: RejectReason.gateway,
  503: RejectReason.down,
  504: RejectReason.gateway,
}
