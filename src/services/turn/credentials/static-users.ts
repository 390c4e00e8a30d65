import { LRUCache } from 'lru-cache'
import { userhash } from '../../../protocols/stun/index.ts'
import type { Credential, CredentialClaim, CredentialSource } from './contract.ts'
import { CredentialError } from './errors.ts'
import {
  type HashedKey,
  hashedKeyCredential,
  type Identity,
  parseHashedKey,
  passwordCredential,
} from './keyed-credential.ts'
import { opaqueString, opaqueStringRefusal } from './opaque-string.ts'
import type { UserBounds } from './user-bounds.ts'

/** A user who is known by name, with either a password or a key. */
export interface StaticUser {
  readonly username: string
  readonly password?: string
  /**
   * The hash of `username:realm:password` in hexadecimal: of 32 digits MD5, of 64 SHA-256. It is good in that realm only,
   * and only for clients that use that hash.
   */
  readonly key?: string
  /** Allocations that the user may hold at a time, 0 for any number. @defaultValue as all others */
  readonly maxAllocations?: number
}

/** Users who are listed. A USERNAME is found as it was sent, since clients prepare it (RFC 8489 §14.3). */
export class StaticUsers implements CredentialSource, UserBounds {
  #users: ReadonlyMap<string, KnownUser>
  readonly #realms = new LRUCache<string, RealmUsers>({ max: maxRealms })

  /** @throws TURN_CREDENTIAL_BAD_OPTION as `replace` does */
  constructor(users: readonly StaticUser[]) {
    this.#users = knownUsers(users)
  }

  /**
   * Puts other users in place of all that were known.
   *
   * @throws TURN_CREDENTIAL_BAD_OPTION for a name or password that `opaqueString` refuses, a user with both or neither of password and
   * key, a key that is none, a name that comes twice; the users stay as they were
   */
  replace(users: readonly StaticUser[]): void {
    this.#users = knownUsers(users)
    this.#realms.clear()
  }

  find({ username, userhash, realm }: CredentialClaim): readonly Credential[] {
    const users = this.#realm(realm)
    if (users === undefined) return []
    const name = username ?? (userhash === undefined ? undefined : users.nameOf(userhash))
    const credential = name === undefined ? undefined : users.credentialOf(name)
    return credential === undefined ? [] : [credential]
  }

  maxAllocations(userId: string): number | undefined {
    return this.#users.get(userId)?.maxAllocations
  }

  #realm(realm: string): RealmUsers | undefined {
    const known = this.#realms.get(realm)
    if (known !== undefined) return known
    const prepared = opaqueString(realm)
    if (prepared === undefined) return undefined
    const users = new RealmUsers(this.#users, prepared)
    this.#realms.set(realm, users)
    return users
  }
}

/** The realm of a claim is one of the server's own, so these are few. */
const maxRealms = 16

type Proof = { readonly password: string } | { readonly key: HashedKey }

interface KnownUser {
  readonly maxAllocations: number | undefined
  readonly proof: Proof
}

/** The users as one realm has them. What is made of them is made when it is first needed, and kept. */
class RealmUsers {
  readonly #users: ReadonlyMap<string, KnownUser>
  readonly #realm: string
  readonly #credentials = new Map<string, Credential>()
  #names: ReadonlyMap<string, string> | undefined

  constructor(users: ReadonlyMap<string, KnownUser>, realm: string) {
    this.#users = users
    this.#realm = realm
  }

  credentialOf(username: string): Credential | undefined {
    const user = this.#users.get(username)
    if (user === undefined) return undefined
    let credential = this.#credentials.get(username)
    if (credential === undefined) {
      credential = this.#credential({ username, userId: username }, user.proof)
      this.#credentials.set(username, credential)
    }
    return credential
  }

  nameOf(hash: Uint8Array): string | undefined {
    this.#names ??= new Map(
      [...this.#users.keys()].map((name) => [userhash(name, this.#realm).toString('hex'), name]),
    )
    return this.#names.get(Buffer.from(hash).toString('hex'))
  }

  #credential(identity: Identity, proof: Proof): Credential {
    if ('key' in proof) return hashedKeyCredential(identity, proof.key)
    return passwordCredential(identity, this.#realm, () => proof.password)
  }
}

function knownUsers(users: readonly StaticUser[]): ReadonlyMap<string, KnownUser> {
  const known = new Map<string, KnownUser>()
  for (const [index, user] of users.entries()) {
    const username = opaqueString(user.username)
    const { maxAllocations } = user
    if (username === undefined) throw bad(`${index + 1}`, `has a name that ${opaqueStringRefusal}`)
    if (known.has(username)) throw bad(username, 'comes twice')
    if (maxAllocations !== undefined && !(Number.isInteger(maxAllocations) && maxAllocations >= 0)) {
      throw bad(username, `maxAllocations is ${maxAllocations}, not a whole number from 0`)
    }
    known.set(username, { maxAllocations, proof: proofOf(username, user) })
  }
  return known
}

function proofOf(username: string, { password, key }: StaticUser): Proof {
  if ((password === undefined) === (key === undefined))
    throw bad(username, 'needs either a password or a key')
  if (password !== undefined) {
    const prepared = opaqueString(password)
    if (prepared === undefined) throw bad(username, `has a password that ${opaqueStringRefusal}`)
    return { password: prepared }
  }
  const hashed = parseHashedKey(key ?? '')
  if (hashed === undefined) throw bad(username, 'has a key that is not of 32 or 64 hexadecimal digits')
  return { key: hashed }
}

function bad(user: string, what: string): CredentialError {
  return new CredentialError('TURN_CREDENTIAL_BAD_OPTION', `user ${user} ${what}`)
}
