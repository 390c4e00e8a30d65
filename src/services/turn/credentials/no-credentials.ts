import type { Credential, CredentialClaim, CredentialSource } from './contract.ts'

/** Nobody is known: STUN is served, and Allocate refused. */
export class NoCredentials implements CredentialSource {
  readonly isNone = true

  find(_claim: CredentialClaim): readonly Credential[] {
    return []
  }
}
