/** What is asked before a user gets an allocation. */
export interface QuotaRequest {
  readonly userId: string
  readonly realm: string
  readonly listener: string
  readonly clientAddress: string
}

/**
 * Counts allocations per user. What was taken is given back exactly once, however the allocation ends, also when it could
 * not be made after all. A shared store can count for many gateways.
 */
export interface AllocationQuota {
  /** False when the user has all that it may have (486). A rejected promise refuses too (500). */
  take(request: QuotaRequest): boolean | Promise<boolean>
  give(request: QuotaRequest): void
}

/**
 * Asked before each allocation: false refuses it (486), a rejection too (500). Nothing is given back, so a function that counts
 * must learn of the end of allocations by itself, and of those that were not made after all.
 */
export type QuotaCheck = (request: QuotaRequest) => boolean | Promise<boolean>

/** A quota that is a function: nothing is given back. */
export function quotaOf(quota: AllocationQuota | QuotaCheck): AllocationQuota {
  return typeof quota === 'function' ? { take: quota, give: () => {} } : quota
}

/** Counts in this process. */
export class MemoryQuota implements AllocationQuota {
  readonly #most: (userId: string) => number
  readonly #taken = new Map<string, number>()

  /** @param most that one user may have at a time, for all or by user; 0 is no limit */
  constructor(most: number | ((userId: string) => number)) {
    this.#most = typeof most === 'number' ? () => most : most
  }

  take({ userId }: QuotaRequest): boolean {
    const taken = this.taken(userId)
    const most = this.#most(userId)
    if (most > 0 && taken >= most) return false
    this.#taken.set(userId, taken + 1)
    return true
  }

  give({ userId }: QuotaRequest): void {
    const left = this.taken(userId) - 1
    if (left > 0) this.#taken.set(userId, left)
    else this.#taken.delete(userId)
  }

  /** How many allocations a user has. */
  taken(userId: string): number {
    return this.#taken.get(userId) ?? 0
  }
}
