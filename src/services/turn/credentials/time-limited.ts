import { createHmac } from 'node:crypto'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { Credential, CredentialClaim, CredentialSource } from './contract.ts'
import { CredentialError } from './errors.ts'
import { passwordCredential } from './keyed-credential.ts'
import { opaqueString } from './opaque-string.ts'

/** Options of `TimeLimited`. */
export interface TimeLimitedOptions {
  /** Shared with whoever hands credentials out; while they are rotated several, the newest first, 8 at most. */
  readonly secrets: readonly string[]
  /** What stands between the time and the user in a user name. One character. @defaultValue ':' */
  readonly separator?: string
  /** Whether allocations end with the credential. @defaultValue false */
  readonly isStrict?: boolean
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
}

/**
 * Users who were given a name that holds its own end, `<unix time>:<user>`, and the password that belongs to it
 * (draft-uberti-behave-turn-rest, as coturn and STUNner have it). Nobody has to be remembered. A USERHASH hides the
 * name, so nobody is found by it.
 */
export class TimeLimited implements CredentialSource {
  readonly separator: string
  #secrets: readonly string[]
  readonly #isStrict: boolean
  readonly #clock: Clock

  /** @throws TURN_CREDENTIAL_BAD_OPTION */
  constructor(options: TimeLimitedOptions) {
    const { secrets, separator = ':', isStrict = false, clock = systemClock } = options
    this.separator = checkSeparator(separator)
    this.#secrets = checkSecrets(secrets)
    this.#isStrict = isStrict
    this.#clock = clock
  }

  /** What new credentials are made with; undefined when there is no secret. */
  get secret(): string | undefined {
    return this.#secrets[0]
  }

  /** Puts other secrets in place. @throws TURN_CREDENTIAL_BAD_OPTION for an empty or a ninth one; those that were stay */
  replace(secrets: readonly string[]): void {
    this.#secrets = checkSecrets(secrets)
  }

  find({ username, realm }: CredentialClaim): readonly Credential[] {
    if (username === undefined) return []
    const parsed = parseTimeLimitedUsername(username, this.separator)
    if (parsed === undefined || parsed.expiresAtMs < this.#clock.wallMs()) return []
    const preparedRealm = opaqueString(realm)
    if (preparedRealm === undefined) return []
    const identity = { username, ...parsed, isStrict: this.#isStrict }
    return this.#secrets.map((secret) =>
      passwordCredential(identity, preparedRealm, () => timeLimitedPassword(secret, username)),
    )
  }
}

/** The password of a time-limited user name: base64 of HMAC-SHA1. */
export function timeLimitedPassword(secret: string, username: string): string {
  return createHmac('sha1', secret).update(username, 'utf8').digest('base64')
}

/** @throws TURN_CREDENTIAL_BAD_OPTION unless it is one character that is neither digit nor sign */
function checkSeparator(separator: string): string {
  if (/^[^\p{Cc}\p{Cs}\d+-]$/u.test(separator)) return separator
  throw new CredentialError(
    'TURN_CREDENTIAL_BAD_OPTION',
    `the separator is "${separator}", not one character other than a digit, + and -`,
  )
}

/**
 * Who a time-limited user name is of, and until when. The first part that is a whole number is the time, in seconds; the
 * user is the second part of `<time>:<user>`, and in every other form, such as coturn's `<user>:<time>`, the whole
 * name: STUNner counts quotas so. Undefined when no part is a time.
 */
export function parseTimeLimitedUsername(
  username: string,
  separator: string,
): { readonly userId: string; readonly expiresAtMs: number } | undefined {
  const parts = username.split(separator)
  const at = parts.findIndex((part) => /^[+-]?\d{1,19}$/.test(part))
  if (at < 0) return undefined
  const user = at === 0 && parts.length === 2 ? parts[1] : undefined
  const expiresAtMs = Math.min(Number(parts[at]) * 1000, maxTimeMs)
  return { userId: user === undefined || user === '' ? username : user, expiresAtMs }
}

/** The last time that a Date can show; callers who want no end take times beyond it. */
const maxTimeMs = 8.64e15

/** Each costs the server an HMAC for every request that none of them proves. */
const maxSecrets = 8

function checkSecrets(secrets: readonly string[]): readonly string[] {
  if (secrets.length > maxSecrets) {
    throw new CredentialError(
      'TURN_CREDENTIAL_BAD_OPTION',
      `there are ${secrets.length} secrets, over ${maxSecrets}`,
    )
  }
  const empty = secrets.indexOf('')
  if (empty < 0) return [...secrets]
  throw new CredentialError('TURN_CREDENTIAL_BAD_OPTION', `secret ${empty + 1} is empty`)
}
