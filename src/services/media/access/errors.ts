import { SluiceError } from '../../../foundation/errors.ts'

/** Codes of access, and what to do about each. */
export type AccessErrorCode =
  /** The rule says nobody, or there is none for the stream: add or change a rule of `media.access`. */
  | 'ACCESS_DENIED'
  /** The address is not one that may: see `allowFrom` and `denyFrom` of the rule. */
  | 'ACCESS_ADDRESS_DENIED'
  /** The client sent neither key nor token: put one into the query, or send it as bearer token. */
  | 'ACCESS_CREDENTIALS_MISSING'
  /** The key or token is not good here: the message says why as far as that helps no guessing. */
  | 'ACCESS_CREDENTIALS_WRONG'
  /** The token has run out: get a new one, or let it live longer. */
  | 'ACCESS_EXPIRED'
  /** What let the session in was taken out of the configuration while it ran. */
  | 'ACCESS_REVOKED'
  /** A hook server refused: ask it why. */
  | 'ACCESS_HOOK_DENIED'
  /** A hook server did not answer: see the log for which, or set `whenAway`. */
  | 'ACCESS_HOOK_AWAY'
  /** The keys of tokens could not be fetched: see the log, check `jwksUrl`. */
  | 'ACCESS_KEYS_AWAY'
  /** A limit of sessions, or of wrong credentials, is reached: the message says which. */
  | 'ACCESS_TOO_MANY'
  /** The gateway is going down: ask another. */
  | 'ACCESS_CLOSED'
  /** A rule cannot be used: the message names it. */
  | 'ACCESS_BAD_OPTION'

/** Why somebody was not let in, or may not go on. The message may be shown to a client: it holds no secret and no inner address. */
export class AccessError extends SluiceError {
  override readonly name = 'AccessError'
  declare readonly code: AccessErrorCode
  declare readonly status: number

  constructor(code: AccessErrorCode, message: string, cause?: unknown) {
    const { status, retryable, side = 'client' } = kinds[code]
    super(code, message, { side, retryable, status, cause })
  }
}

const kinds: Readonly<
  Record<
    AccessErrorCode,
    { readonly status: number; readonly retryable: boolean; readonly side?: 'client' | 'self' }
  >
> = {
  ACCESS_DENIED: { status: 403, retryable: false },
  ACCESS_ADDRESS_DENIED: { status: 403, retryable: false },
  ACCESS_CREDENTIALS_MISSING: { status: 401, retryable: false },
  ACCESS_CREDENTIALS_WRONG: { status: 403, retryable: false },
  ACCESS_EXPIRED: { status: 403, retryable: false },
  ACCESS_REVOKED: { status: 403, retryable: false },
  ACCESS_HOOK_DENIED: { status: 403, retryable: false },
  ACCESS_HOOK_AWAY: { status: 503, retryable: true },
  ACCESS_KEYS_AWAY: { status: 503, retryable: true },
  ACCESS_TOO_MANY: { status: 429, retryable: true },
  ACCESS_CLOSED: { status: 503, retryable: true, side: 'self' },
  ACCESS_BAD_OPTION: { status: 500, retryable: false, side: 'self' },
}
