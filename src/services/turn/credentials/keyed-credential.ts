import { longTermKey } from '../../../protocols/stun/index.ts'
import type { Credential, KeyAlgorithm } from './contract.ts'

/** Who a credential is of, and until when. */
export type Identity = Omit<Credential, 'key'>

/**
 * A credential of somebody with a password. Its keys are made when they are asked for, once.
 *
 * @param realm prepared (OpaqueString)
 * @param password gives the prepared password
 */
export function passwordCredential(identity: Identity, realm: string, password: () => string): Credential {
  const keys: Partial<Record<KeyAlgorithm, Uint8Array>> = {}
  return {
    ...identity,
    key: (algorithm) => (keys[algorithm] ??= longTermKey(identity.username, realm, password(), algorithm)),
  }
}

/** A key that was hashed elsewhere: `MD5(user:realm:password)` or SHA-256 of the same. */
export interface HashedKey {
  readonly algorithm: KeyAlgorithm
  readonly bytes: Uint8Array
}

/** A credential of somebody whose password nobody here knows. */
export function hashedKeyCredential(identity: Identity, key: HashedKey): Credential {
  return { ...identity, key: (algorithm) => (algorithm === key.algorithm ? key.bytes : undefined) }
}

/** Reads a key in hexadecimal: 32 digits are MD5, 64 SHA-256; undefined for anything else. */
export function parseHashedKey(hex: string): HashedKey | undefined {
  if (!/^(?:[\da-f]{32}|[\da-f]{64})$/i.test(hex)) return undefined
  return { algorithm: hex.length === 32 ? 'md5' : 'sha256', bytes: Buffer.from(hex, 'hex') }
}
