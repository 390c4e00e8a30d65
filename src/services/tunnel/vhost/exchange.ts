import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { TunnelErrorCode } from '../errors.ts'
import type { Backend, BackendPicker } from '../server/backend.ts'
import type { HeaderRules } from './http-rules.ts'
import { reply, type UserAnswer, type UserRequest } from './user-exchange.ts'
import type { UserConnection } from './user-connection.ts'

/** What the way of one request to its backend needs. */
export interface ExchangeParts {
  readonly request: UserRequest
  readonly answer: UserAnswer
  readonly user: UserConnection
  readonly backends: BackendPicker
  readonly rules: HeaderRules
  /** How long a backend may take from the end of a request to the status of its answer. */
  readonly responseHeaderTimeoutMs: number
  readonly clock: Clock
  readonly log: Logger
  /** Takes over from HTTP after a 101: what the user and the backend send now is theirs. */
  readonly onSwitched?: (backend: ByteStream) => void
  /** Told of each 502, 503 and 504. */
  readonly onFailed: (status: FailureStatus) => void
}

export type FailureStatus = 502 | 503 | 504

const REASONS: Readonly<Record<FailureStatus, string>> = {
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

/** Ends an exchange that has failed: by a status when there is still room for one, otherwise by a body that breaks off. */
export function fail(parts: ExchangeParts, status: FailureStatus, error: unknown, backend?: Backend): void {
  const { request, answer, log, onFailed } = parts
  log.debug(
    {
      host: request.target.host,
      status,
      code: errorCode(error),
      reason: errorMessage(error),
      ...(backend !== undefined && { proxy: backend.proxyName }),
    },
    'request failed at its backend',
  )
  onFailed(status)
  if (answer.isBegun) answer.cut()
  else reply(answer, request.method, status, { reason: REASONS[status] })
}

/** May be sent again when it is not known whether they arrived (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** Whether a request may be sent once more, after a first try of which nothing came back. */
export function isRepeatable({ method, body }: UserRequest): boolean {
  return body === undefined && IDEMPOTENT.has(method)
}

/** What to answer when no connection to a backend can be had. */
export function statusOfConnectError(error: unknown): FailureStatus {
  return errorCode(error) === TunnelErrorCode.forbidden ? 503 : 502
}
