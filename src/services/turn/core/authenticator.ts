import {
  StunAttribute,
  type StunMessage,
  userhash,
  verifyMessageIntegrity,
  verifyMessageIntegritySha256,
} from '../../../protocols/stun/index.ts'
import type { Credential, CredentialSource, KeyAlgorithm } from '../credentials/contract.ts'
import { passwordAlgorithms } from './challenge.ts'
import type { Client } from './client.ts'
import type { Nonces, Security } from './nonces.ts'

/** Who has proved to be behind a request, and how the answer is signed. */
export interface Identity {
  readonly credential: Credential
  readonly realm: string
  readonly key: Uint8Array
  /** Whether the answer carries MESSAGE-INTEGRITY-SHA256, and it alone (RFC 8489 §9.2.4). */
  readonly isSha256: boolean
}

/** Why a request was turned away; 401 and 438 are challenges. */
export type RefusalCode = 400 | 401 | 403 | 438 | 500

/** What comes of a request's credentials; with too many attempts nothing, not even an answer. */
export type Verdict = Identity | RefusalCode | 'unanswered'

/** Whether requests of one may act on what belongs to the other (else 441). Any token refreshes what a token has made. */
export function isOwner({ credential: owner }: Identity, { credential: other }: Identity): boolean {
  return owner.username === other.username || (owner.isToken === true && other.isToken === true)
}

export interface AuthenticatorOptions {
  readonly credentials: CredentialSource
  readonly realm: string
  readonly security: Security
  readonly nonces: Nonces
  /** Whether somebody at this address may try to prove who they are; each attempt costs us a look-up and an HMAC. */
  readonly mayTry: (address: string) => boolean
}

/**
 * Long-term credentials (RFC 8489 §9.2.4). Differs from its order in one thing: the nonce, which costs least to check and
 * proves that the client is where it says, comes first, so that a forged source address never makes us ask anybody.
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions

  constructor(options: AuthenticatorOptions) {
    this.#options = options
  }

  /**
   * Judges a request. `known` is who owns the client's allocation: their key is kept, nobody is asked again.
   */
  judge(
    request: StunMessage,
    client: Client,
    known: Identity | undefined,
    wallMs: number,
  ): Verdict | Promise<Verdict> {
    const { credentials, nonces } = this.#options
    if (credentials.isNone === true && known === undefined) return 403
    if (request.integrityOffset === undefined && request.integritySha256Offset === undefined) return 401
    const nonce = request.attribute(StunAttribute.nonce)
    const realm = request.text(StunAttribute.realm)
    const username = request.text(StunAttribute.username)
    const hash = request.attribute(StunAttribute.userhash)
    if (nonce === undefined || realm === undefined || (username === undefined && hash === undefined))
      return 400
    if (username !== undefined && username.length > maxUsernameLength) return 400
    if (!nonces.isGood(nonce, client.address, noncePort(client), wallMs)) return 438
    const algorithm = this.#algorithm(request)
    if (algorithm === undefined) return 400
    if (realm === known?.realm && isSameUser(known, username, hash)) {
      const proved = prove(request, [known.credential], known.realm, algorithm)
      // The password may have been changed under the same name.
      if (proved !== undefined) return proved
    }
    if (realm !== this.#options.realm) return 401
    if (!this.#options.mayTry(client.address)) return 'unanswered'
    const accessToken = request.attribute(StunAttribute.accessToken)
    let found: ReturnType<CredentialSource['find']>
    try {
      found = credentials.find({
        ...(username !== undefined && { username }),
        ...(hash !== undefined && { userhash: hash }),
        ...(accessToken !== undefined && { accessToken }),
        realm,
        clientAddress: client.address,
        listener: client.listener.options.name,
      })
    } catch {
      // A source that fails is not the client's doing, and must not end its connection.
      return 500
    }
    if (!(found instanceof Promise)) return prove(request, found, this.#options.realm, algorithm) ?? 401
    // The request's bytes are gone when the promise resolves.
    const kept = request.copy()
    return found.then(
      (candidates) => prove(kept, candidates, this.#options.realm, algorithm) ?? 401,
      () => 500,
    )
  }

  /** The algorithm of the key; undefined where the client was led to a weaker one, or chose none that was offered. */
  #algorithm(request: StunMessage): KeyAlgorithm | undefined {
    if (this.#options.security === 'none') return 'md5'
    const list = request.attribute(StunAttribute.passwordAlgorithms)
    const choice = request.attribute(StunAttribute.passwordAlgorithm)
    if (list === undefined && choice === undefined) return 'md5'
    if (list === undefined || choice === undefined || !isEqual(list, passwordAlgorithms)) return undefined
    if (choice.length !== 4 || choice[0] !== 0) return undefined
    return choice[1] === 2 ? 'sha256' : choice[1] === 1 ? 'md5' : undefined
  }
}

/**
 * What stands for the client's port in its nonce. A connection proves its address by itself, and clients use the nonce of
 * one on another, for ConnectionBind (RFC 6062 §4.3).
 */
export function noncePort({ isStream, port }: Pick<Client, 'isStream' | 'port'>): number {
  return isStream ? 0 : port
}

/** RFC 8489 §14.3 allows 508 bytes, RFC 5389 512. */
const maxUsernameLength = 512

function prove(
  request: StunMessage,
  candidates: readonly Credential[],
  realm: string,
  algorithm: KeyAlgorithm,
): Identity | undefined {
  for (const credential of candidates.slice(0, maxCandidates)) {
    const key = credential.key(algorithm)
    if (key === undefined) continue
    const isProved =
      request.integritySha256Offset === undefined
        ? verifyMessageIntegrity(request, key)
        : verifyMessageIntegritySha256(request, key)
    if (!isProved) continue
    const isSha256 = request.attribute(StunAttribute.passwordAlgorithm) !== undefined
    return { credential, realm, key, isSha256 }
  }
  return undefined
}

/** Each costs an HMAC. */
const maxCandidates = 8

function isSameUser(known: Identity, username: string | undefined, hash: Uint8Array | undefined): boolean {
  const owner = known.credential.username
  if (username !== undefined) return username === owner
  return hash !== undefined && isEqual(hash, userhash(owner, known.realm))
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0
}
