/** The two hashes that long-term keys are made with (RFC 8489 §18.5.1). */
export type KeyAlgorithm = 'md5' | 'sha256'

/** What a request claims, before anything of it is proved. */
export interface CredentialClaim {
  /** USERNAME; for OAuth the key id. Absent when the client hides it behind a USERHASH. */
  readonly username?: string
  /** USERHASH, 32 bytes (RFC 8489 §14.4). */
  readonly userhash?: Uint8Array
  /** ACCESS-TOKEN (RFC 7635 §6.2); valid during the call only. */
  readonly accessToken?: Uint8Array
  readonly realm: string
  /** The client's address; its nonce has proved that it is there. */
  readonly clientAddress: string
  /** The listener's name. */
  readonly listener: string
}

/** One way in which a claim may be proved: who it would be, and with which key. */
export interface Credential {
  /** The USERNAME as a client that holds this credential writes it; an allocation answers to no other (441). */
  readonly username: string
  /** Who it is, for quotas, meters, events and metrics: of `1700000000:alice` it is `alice`. */
  readonly userId: string
  /** The integrity key; undefined when only the other algorithm's is known (a user with a pre-hashed key). */
  key(algorithm: KeyAlgorithm): Uint8Array | undefined
  /** When it ends, in milliseconds since the Unix epoch: no allocation is made afterwards. */
  readonly expiresAtMs?: number
  /** Whether allocations end with it. Otherwise those that exist may be refreshed on. @defaultValue false */
  readonly isStrict?: boolean
  /**
   * Whether it is an access token, whose USERNAME names a key (RFC 7635 §4): an allocation is then refreshed with any token.
   * @defaultValue false
   */
  readonly isToken?: boolean
}

/** Finds what a claim may be proved with. */
export interface CredentialSource {
  /** With `none` there is no way to prove anything: STUN is served and Allocate refused. */
  readonly isNone?: boolean
  /** Server name for THIRD-PARTY-AUTHORIZATION in challenges (RFC 7635 §6.1). @defaultValue no OAuth */
  readonly thirdPartyServer?: string
  /**
   * Candidates, most likely first: several while a secret is being rotated, none when nobody is known by that name
   * or the credential has expired. A promise when somebody else has to be asked; rejects when that fails (500).
   */
  find(claim: CredentialClaim): readonly Credential[] | Promise<readonly Credential[]>
}
