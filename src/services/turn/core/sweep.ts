import type { Allocation } from './allocation.ts'
import type { PeerPaths } from './peer-paths.ts'

/** Ends or stops what has expired in an allocation. Gives when it is to be looked at again. */
export function sweep(allocation: Allocation, paths: PeerPaths, nowMs: number): number {
  if (allocation.replay !== undefined && allocation.replay.untilMs <= nowMs) allocation.replay = undefined
  for (const path of [...(allocation.channels?.values() ?? [])]) {
    if (path.channel !== undefined && path.channel.expiresAtMs <= nowMs) paths.unbindChannel(path)
  }
  for (const permission of [...allocation.permissions.values()]) {
    if (permission.expiresAtMs > nowMs) continue
    // A channel outlives its permission and stands still until that is renewed (RFC 8656 §12).
    for (const path of [...permission.paths.values()]) {
      if (path.channel === undefined) paths.end(path)
      else paths.setPaused(path, true)
    }
    if (permission.paths.size === 0) paths.endPermission(allocation, permission)
  }
  return nextDeadline(allocation, nowMs)
}

/** When something of an allocation expires next. @param afterMs deadlines up to then are done with */
export function nextDeadline(allocation: Allocation, afterMs: number = Number.NEGATIVE_INFINITY): number {
  let next = allocation.expiresAtMs
  const consider = (deadlineMs: number): void => {
    if (deadlineMs > afterMs && deadlineMs < next) next = deadlineMs
  }
  if (allocation.replay !== undefined) consider(allocation.replay.untilMs)
  for (const permission of allocation.permissions.values()) consider(permission.expiresAtMs)
  for (const path of allocation.channels?.values() ?? []) {
    if (path.channel !== undefined) consider(path.channel.expiresAtMs)
  }
  return next
}
