import type { TurnLimits } from '../options.ts'
import type { Allocation } from './allocation.ts'

/**
 * Whether so many new peers may come now, so that an allocation is no tool for scanning networks. They are charged only when
 * all of them may.
 */
export function mayMeet(
  allocation: Allocation,
  count: number,
  nowMs: number,
  { newPeersPerSecond }: Pick<TurnLimits, 'newPeersPerSecond'>,
): boolean {
  if (newPeersPerSecond <= 0) return true
  const most = newPeersPerSecond * burstSeconds
  const { tokens, filledMs } = allocation.newPeers ?? { tokens: most, filledMs: nowMs }
  const filled = Math.min(most, tokens + ((nowMs - filledMs) / 1000) * newPeersPerSecond)
  const isEnough = filled >= count
  allocation.newPeers = { tokens: isEnough ? filled - count : filled, filledMs: nowMs }
  return isEnough
}

const burstSeconds = 20
