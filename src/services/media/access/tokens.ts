import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { type CryptoKey, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import type { Clock } from '../../../foundation/clock.ts'
import { ACCESS_ALGORITHMS, type AccessJwtConfig } from '../../../mechanisms/config/access-config.ts'
import { AccessError } from './errors.ts'
import type { RemoteKeys } from './remote-keys.ts'
import { claimsFault, type Wish } from './token-claims.ts'

/** A token that is good. */
export interface GoodToken {
  /** Names the key that it is signed with, when rules change. */
  readonly signedBy: string
  /** Wall time in milliseconds at which a session with it ends; absent: it does not. */
  readonly endsAtMs?: number
}

interface TokenKey {
  readonly name: string
  readonly key: Uint8Array | KeyObject
}

/** Checks tokens (JWT) by one `jwt` table of the rules. */
export class Tokens {
  readonly #config: AccessJwtConfig
  readonly #clock: Clock
  readonly #algorithms: readonly string[]
  readonly #secrets: readonly TokenKey[]
  readonly #publicKeys: readonly TokenKey[]
  readonly #remote: RemoteKeys | undefined

  /** @throws ACCESS_BAD_OPTION for a key that cannot be read */
  constructor(config: AccessJwtConfig, remote: RemoteKeys | undefined, clock: Clock) {
    this.#config = config
    this.#clock = clock
    this.#remote = remote
    this.#algorithms = config.algorithms ?? ACCESS_ALGORITHMS
    this.#secrets = config.secrets.map((text) => ({
      name: `secret ${createHash('sha256').update(text).digest('hex')}`,
      key: Buffer.from(text),
    }))
    this.#publicKeys = config.publicKeys.map(publicKeyOf)
  }

  /** Whether one of the names that `check` gave is still a key here. */
  has(signedBy: string): boolean {
    if (signedBy === this.#remoteName) return true
    return [...this.#secrets, ...this.#publicKeys].some(({ name }) => name === signedBy)
  }

  /**
   * Resolves to undefined for what is no token of ours: malformed, of another algorithm, signed by somebody else.
   * @throws ACCESS_EXPIRED, ACCESS_CREDENTIALS_WRONG with what is missing in a token that is rightly signed, ACCESS_KEYS_AWAY
   */
  async check(token: string, wish: Wish): Promise<GoodToken | undefined> {
    const header = headerOf(token)
    const { alg = '' } = header ?? {}
    if (header === undefined || !this.#algorithms.includes(alg)) return undefined
    // Kept apart, so that a public key is never taken for a secret.
    for (const { key, name } of alg.startsWith('HS') ? this.#secrets : this.#publicKeys) {
      const payload = await this.#verify(token, key)
      if (payload !== undefined) return this.#good(payload, name, wish)
    }
    if (alg.startsWith('HS') || this.#remote === undefined) return undefined
    for (const key of await this.#remote.find(header)) {
      const payload = await this.#verify(token, key)
      if (payload !== undefined) return this.#good(payload, this.#remoteName, wish)
    }
    return undefined
  }

  get #remoteName(): string {
    return `jwks ${this.#config.jwksUrl ?? ''}`
  }

  /** The claims, when the key fits; undefined when it does not. Throws for claims that are not good whatever is wished. */
  async #verify(token: string, key: Uint8Array | KeyObject | CryptoKey): Promise<JWTPayload | undefined> {
    const { issuers, audiences, requireExpiry, clockToleranceSeconds } = this.#config
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [...this.#algorithms],
        ...(issuers.length > 0 && { issuer: [...issuers] }),
        ...(audiences.length > 0 && { audience: [...audiences] }),
        ...(requireExpiry && { requiredClaims: ['exp'] }),
        clockTolerance: clockToleranceSeconds,
        currentDate: new Date(this.#clock.wallMs()),
      })
      return payload
    } catch (error) {
      // Claims are looked at behind the signature only.
      if (error instanceof errors.JWTExpired) {
        throw new AccessError('ACCESS_EXPIRED', 'the token has expired', error)
      }
      if (error instanceof errors.JWTClaimValidationFailed) {
        throw new AccessError(
          'ACCESS_CREDENTIALS_WRONG',
          `"${error.claim}" of the token is not good here`,
          error,
        )
      }
      // Another signature, a key of another kind, or no JSON inside.
      return undefined
    }
  }

  #good(payload: JWTPayload, signedBy: string, wish: Wish): GoodToken {
    const fault = claimsFault(payload, wish, this.#config)
    if (fault !== undefined) throw new AccessError('ACCESS_CREDENTIALS_WRONG', fault)
    const { endWithToken, clockToleranceSeconds } = this.#config
    if (payload.exp === undefined || !endWithToken) return { signedBy }
    return { signedBy, endsAtMs: (payload.exp + clockToleranceSeconds) * 1000 }
  }
}

function headerOf(token: string): ReturnType<typeof decodeProtectedHeader> | undefined {
  try {
    return decodeProtectedHeader(token)
  } catch {
    return undefined
  }
}

function publicKeyOf(pem: string): TokenKey {
  try {
    const key = createPublicKey(pem)
    const digest = createHash('sha256').update(key.export({ type: 'spki', format: 'der' }))
    return { name: `public key ${digest.digest('hex')}`, key }
  } catch (cause) {
    throw new AccessError('ACCESS_BAD_OPTION', 'a public key of `jwt.publicKeys` cannot be read', cause)
  }
}
