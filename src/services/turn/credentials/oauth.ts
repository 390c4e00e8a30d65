import { createHash } from 'node:crypto'
import { type Clock, systemClock } from '../../../foundation/clock.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import { type AccessTokenFault, decodeAccessToken } from '../../../protocols/turn/index.ts'
import type { Credential, CredentialClaim, CredentialSource } from './contract.ts'
import { CredentialError } from './errors.ts'

/** A key that an authorization server shares with this server. */
export interface OAuthKey {
  /** Names it; clients send it as USERNAME. */
  readonly kid: string
  /** 16 bytes for A128GCM, 32 for A256GCM. */
  readonly key: Uint8Array
  /** From when and until when tokens of this key are taken, in milliseconds since the Unix epoch. @defaultValue always */
  readonly notBeforeMs?: number
  readonly notAfterMs?: number
}

/** Options of `OAuth`. */
export interface OAuthOptions {
  /** Names this server to authorization servers, in challenges and in the seal of tokens. */
  readonly serverName: string
  /** Several while keys are rotated, or for several authorization servers. */
  readonly keys: readonly OAuthKey[]
  /** @defaultValue the clock of the machine */
  readonly clock?: Clock
  /** Told at level debug why a token was refused. @defaultValue nobody */
  readonly logger?: Logger
}

/**
 * Clients who bring a token of an authorization server (RFC 7635). The token holds the integrity key and ends their
 * allocation unless they refresh it with a newer one. Tokens name no user: each counts as one of its own, named after its
 * key id and a hash. A claim without a token is none of ours: the requests between Allocate and Refresh bring
 * none, and hold by the key of the allocation.
 *
 * RFC 7635 makes the integrity with the whole MAC key. coturn and clients made for it take only the first 16 bytes of its
 * 20 (coturn issue 189), so that is the second candidate.
 */
export class OAuth implements CredentialSource {
  readonly thirdPartyServer: string
  #keys: ReadonlyMap<string, OAuthKey>
  readonly #clock: Clock
  readonly #logger: Logger | undefined

  /** @throws TURN_CREDENTIAL_BAD_OPTION */
  constructor({ serverName, keys, clock = systemClock, logger }: OAuthOptions) {
    if (serverName === '') throw bad('the server name is empty')
    this.thirdPartyServer = serverName
    this.#keys = checkKeys(keys)
    this.#clock = clock
    this.#logger = logger
  }

  /** Puts other keys in place. @throws TURN_CREDENTIAL_BAD_OPTION; those that were stay */
  replace(keys: readonly OAuthKey[]): void {
    this.#keys = checkKeys(keys)
  }

  find({ username, accessToken }: CredentialClaim): readonly Credential[] {
    if (username === undefined || accessToken === undefined) return []
    const found = this.#open(username, accessToken)
    if (typeof found !== 'string') return found
    this.#logger?.debug({ kid: username, reason: found }, 'access token refused')
    return []
  }

  #open(kid: string, accessToken: Uint8Array): readonly Credential[] | Refusal {
    const nowMs = this.#clock.wallMs()
    const known = this.#keys.get(kid)
    if (known === undefined) return 'unknown-key'
    const { key, notBeforeMs = -Infinity, notAfterMs = Infinity } = known
    if (nowMs < notBeforeMs || nowMs > notAfterMs) return 'key-out-of-date'
    const token = decodeAccessToken(accessToken, { key, serverName: this.thirdPartyServer })
    if (typeof token === 'string') return token
    const { macKey, timestampMs } = token
    const lifetimeMs = token.lifetimeSeconds * 1000
    if (Math.abs(nowMs - timestampMs) > lifetimeMs + clockSkewMs) return 'out-of-date'
    const hash = createHash('sha256').update(macKey).digest('hex').slice(0, 16)
    const identity = {
      username: kid,
      userId: `${kid}:${hash}`,
      // No allocation is granted more than the token's lifetime, also when the other clock is ahead.
      expiresAtMs: Math.min(timestampMs + lifetimeMs + clockSkewMs, nowMs + lifetimeMs),
      isStrict: true,
      isToken: true,
    }
    const keys = macKey.length === sha1KeyBytes ? [macKey, macKey.subarray(0, coturnKeyBytes)] : [macKey]
    return keys.map((bytes) => ({ ...identity, key: () => bytes }))
  }
}

type Refusal = AccessTokenFault | 'unknown-key' | 'key-out-of-date' | 'out-of-date'

const sha1KeyBytes = 20
const coturnKeyBytes = 16

/** The delta that RFC 7635 §9 recommends. */
const clockSkewMs = 5000

function checkKeys(keys: readonly OAuthKey[]): ReadonlyMap<string, OAuthKey> {
  const known = new Map<string, OAuthKey>()
  for (const key of keys) {
    const { kid } = key
    if (kid === '') throw bad('the id of a key is empty')
    if (known.has(kid)) throw bad(`key "${kid}" comes twice`)
    if (key.key.length !== 16 && key.key.length !== 32) {
      throw bad(`key "${kid}" has ${key.key.length} bytes, not 16 (A128GCM) or 32 (A256GCM)`)
    }
    known.set(kid, key)
  }
  return known
}

function bad(message: string): CredentialError {
  return new CredentialError('TURN_CREDENTIAL_BAD_OPTION', message)
}
