/** Knows of users that may hold another number of allocations than the rest. */
export interface UserBounds {
  /** Allocations that a user may hold at a time, 0 for any number; undefined where nothing is said of it. */
  maxAllocations(userId: string): number | undefined
}
