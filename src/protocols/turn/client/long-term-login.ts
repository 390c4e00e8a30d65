import {
  longTermKey,
  StunAttribute,
  type StunMessage,
  type StunWriter,
  userhash,
  verifyMessageIntegrity,
  verifyMessageIntegritySha256,
} from '../../stun/index.ts'

/**
 * Long-term credentials from the client's side (RFC 8489 §9.2): takes challenges, signs requests, checks answers.
 * MD5 and SHA-1, unless the nonce says that the server can do better.
 */
export class LongTermLogin {
  readonly #username: string
  readonly #password: string
  #challenge: Challenge | undefined

  constructor(username: string, password: string) {
    this.#username = username
    this.#password = password
  }

  /** Whether a challenge has come, so that requests can be signed. */
  get isReady(): boolean {
    return this.#challenge !== undefined
  }

  /** Takes realm and nonce of a 401 or 438; false when it is of no use. A 438 may leave out the realm. */
  take(message: StunMessage): boolean {
    const realm = message.text(StunAttribute.realm) ?? this.#challenge?.realm
    const nonce = message.attribute(StunAttribute.nonce)
    if (realm === undefined || nonce === undefined) return false
    const features = nonceFeatures(nonce)
    const offered = message.attribute(StunAttribute.passwordAlgorithms)
    const hasAlgorithms = (features & passwordAlgorithmsFeature) !== 0
    const algorithm = hasAlgorithms && offered !== undefined ? firstKnown(offered) : undefined
    // RFC 8489 §9.2.1: the nonce cannot be changed on the way, so a list that is missing was taken away by somebody.
    if (hasAlgorithms && algorithm === undefined) return false
    this.#challenge = {
      realm,
      nonce: Uint8Array.from(nonce),
      isAnonymous: (features & usernameAnonymityFeature) !== 0,
      algorithms:
        offered === undefined || algorithm === undefined
          ? undefined
          : { offered: Uint8Array.from(offered), chosen: algorithm },
      key: longTermKey(
        this.#username,
        realm,
        this.#password,
        algorithm === passwordAlgorithm.sha256 ? 'sha256' : 'md5',
      ),
    }
    return true
  }

  /** Adds who we are, and the integrity over all that was written. @throws RangeError before a challenge was taken */
  sign(writer: StunWriter): void {
    if (this.#challenge === undefined) throw new RangeError('there is no challenge to sign for')
    const { realm, nonce, isAnonymous, algorithms, key } = this.#challenge
    if (isAnonymous) writer.attribute(StunAttribute.userhash, userhash(this.#username, realm))
    else writer.text(StunAttribute.username, this.#username)
    writer.text(StunAttribute.realm, realm).attribute(StunAttribute.nonce, nonce)
    if (algorithms === undefined) {
      writer.integrity(key)
      return
    }
    writer
      .attribute(StunAttribute.passwordAlgorithms, algorithms.offered)
      .attribute(StunAttribute.passwordAlgorithm, Uint8Array.of(0, algorithms.chosen, 0, 0))
      .integritySha256(key)
  }

  /** Whether the server signed the answer, with the hash that its challenge agreed on (RFC 8489 §9.2.5). */
  hasSigned(message: StunMessage): boolean {
    if (this.#challenge === undefined) return false
    const { key, algorithms } = this.#challenge
    return algorithms === undefined
      ? verifyMessageIntegrity(message, key)
      : verifyMessageIntegritySha256(message, key)
  }
}

interface Challenge {
  readonly realm: string
  readonly nonce: Uint8Array
  /** Whether the user is named by hash only. */
  readonly isAnonymous: boolean
  /** PASSWORD-ALGORITHMS as it came, to be sent back, and what was chosen of it. */
  readonly algorithms: { readonly offered: Uint8Array; readonly chosen: number } | undefined
  readonly key: Uint8Array
}

/** Numbers of PASSWORD-ALGORITHM (RFC 8489 §18.5.1). */
const passwordAlgorithm = { md5: 1, sha256: 2 } as const

/** Bits of the 24 behind the nonce's cookie, the first being the most significant (RFC 8489 §9.2, §18.1). */
const passwordAlgorithmsFeature = 0x80_0000
const usernameAnonymityFeature = 0x40_0000

const nonceCookie = 'obMatJos2'

/** What a nonce says that its server can do; 0 when it does not say. */
function nonceFeatures(nonce: Uint8Array): number {
  const text = Buffer.from(nonce.subarray(0, 13)).toString('latin1')
  if (!text.startsWith(nonceCookie)) return 0
  const bits = Buffer.from(text.slice(nonceCookie.length), 'base64')
  return bits.length === 3 ? bits.readUIntBE(0, 3) : 0
}

/** The server lists what it can do, best first; of these the first that we can do too (RFC 8489 §9.2.3.2). */
function firstKnown(offered: Uint8Array): number | undefined {
  for (let at = 0; at + 4 <= offered.length; ) {
    const algorithm = ((offered[at] as number) << 8) | (offered[at + 1] as number)
    const parameterBytes = ((offered[at + 2] as number) << 8) | (offered[at + 3] as number)
    if (algorithm === passwordAlgorithm.md5 || algorithm === passwordAlgorithm.sha256) return algorithm
    at += 4 + ((parameterBytes + 3) & ~3)
  }
  return undefined
}
