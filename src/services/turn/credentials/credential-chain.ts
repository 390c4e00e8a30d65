import type { Credential, CredentialClaim, CredentialSource } from './contract.ts'
import type { UserBounds } from './user-bounds.ts'

/**
 * Asks several sources in order: the first that knows the claim answers it. A source that fails is passed over; its failure
 * is the answer only when no later one knows the claim. Answers at once as long as the sources do.
 */
export class CredentialChain implements CredentialSource, UserBounds {
  /** Whether no source can prove anything, or there is none. */
  readonly isNone: boolean
  /** Of the first source that takes tokens. */
  readonly thirdPartyServer?: string
  readonly #sources: readonly (CredentialSource & Partial<UserBounds>)[]

  constructor(sources: readonly (CredentialSource & Partial<UserBounds>)[]) {
    this.#sources = sources
    this.isNone = sources.every(({ isNone }) => isNone === true)
    const [server] = sources.flatMap(({ thirdPartyServer }) => thirdPartyServer ?? [])
    if (server !== undefined) this.thirdPartyServer = server
  }

  find(claim: CredentialClaim): readonly Credential[] | Promise<readonly Credential[]> {
    for (const [index, source] of this.#sources.entries()) {
      const found = source.find(claim)
      if (found instanceof Promise) return this.#findLater(claim, found, index + 1)
      if (found.length > 0) return found
    }
    return []
  }

  maxAllocations(userId: string): number | undefined {
    for (const source of this.#sources) {
      const most = source.maxAllocations?.(userId)
      if (most !== undefined) return most
    }
    return undefined
  }

  /** Waits for what one source is asked, then goes on at `next`. */
  async #findLater(
    claim: CredentialClaim,
    asked: Promise<readonly Credential[]>,
    next: number,
  ): Promise<readonly Credential[]> {
    const kept = copyOf(claim)
    let failure: { readonly cause: unknown } | undefined
    let answer: readonly Credential[] | Promise<readonly Credential[]> = asked
    for (let index = next; ; index++) {
      try {
        const found = await answer
        if (found.length > 0) return found
      } catch (cause) {
        failure ??= { cause }
      }
      const source = this.#sources[index]
      if (source === undefined) break
      answer = source.find(kept)
    }
    if (failure !== undefined) throw failure.cause
    return []
  }
}

/** What the claim has of the received message is valid during `find` only. */
function copyOf(claim: CredentialClaim): CredentialClaim {
  const { userhash, accessToken } = claim
  return {
    ...claim,
    ...(userhash !== undefined && { userhash: Uint8Array.from(userhash) }),
    ...(accessToken !== undefined && { accessToken: Uint8Array.from(accessToken) }),
  }
}
