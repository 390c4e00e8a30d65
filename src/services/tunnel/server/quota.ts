/** How many of something there may be at a time. */
export class Quota {
  /** For messages and metrics. */
  readonly name: string
  /** 0: no limit. May change; who is in stays in. */
  limit: number
  used = 0

  constructor(name: string, limit: number) {
    this.name = name
    this.limit = limit
  }

  get isFull(): boolean {
    return this.limit > 0 && this.used >= this.limit
  }
}

/** One more in each quota. Gives how to take it back, which may be called twice, or the quota that was full; then none has changed. */
export function take(quotas: readonly Quota[]): (() => void) | Quota {
  const full = quotas.find(({ isFull }) => isFull)
  if (full !== undefined) return full
  for (const quota of quotas) quota.used++
  let isTaken = true
  return () => {
    if (!isTaken) return
    isTaken = false
    for (const quota of quotas) quota.used--
  }
}
