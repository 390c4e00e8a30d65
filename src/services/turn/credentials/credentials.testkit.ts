import { longTermKey } from '../../../protocols/stun/index.ts'
import type { Credential, CredentialClaim, CredentialSource, KeyAlgorithm } from './contract.ts'

/** A claim of `username`, with what the rest of it usually is. */
export function claimOf(username: string, rest: Partial<CredentialClaim> = {}): CredentialClaim {
  return { username, realm: 'example.org', clientAddress: '192.0.2.1', listener: 'udp', ...rest }
}

/** A claim of somebody who hides behind a USERHASH. */
export function hiddenClaimOf(userhash: Uint8Array, rest: Partial<CredentialClaim> = {}): CredentialClaim {
  return { userhash, realm: 'example.org', clientAddress: '192.0.2.1', listener: 'udp', ...rest }
}

/** What a source finds at once. */
export function foundBy(source: CredentialSource, claim: CredentialClaim): readonly Credential[] {
  const found = source.find(claim)
  if (found instanceof Promise) throw new TypeError('the source asked somebody')
  return found
}

/** Whether a client that has this password is taken for who it says it is. */
export function isProvedBy(
  credential: Credential,
  { username = '', realm }: CredentialClaim,
  password: string,
  algorithm: KeyAlgorithm = 'md5',
): boolean {
  return longTermKey(username, realm, password, algorithm).equals(
    credential.key(algorithm) ?? new Uint8Array(),
  )
}
