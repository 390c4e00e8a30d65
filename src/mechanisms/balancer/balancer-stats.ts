import type { OriginState } from './contract.ts'

/**
 * How a pick ended: at the kept origin, where an operator pinned it, joining a choice that waits for its origin, newly chosen among the healthy, tried
 * at one that is not healthy, or with an error.
 */
export type PickResult =
  | 'kept'
  | 'pinned'
  | 'joined'
  | 'chosen'
  | 'last_resort'
  | 'no_origin'
  | 'protocol_not_offered'
  | 'too_many_streams'

/** Plain numbers of a store: sizes as they are now, picks since its begin. */
export interface BalancerStats {
  readonly origins: Readonly<Record<OriginState, number>>
  readonly draining: number
  /** Keys that are kept at an origin. */
  readonly streams: number
  /** Keys that wait for an origin's answer. */
  readonly pendingPicks: number
  /** Keys that an operator pinned. */
  readonly pinned: number
  /** Keys that are published at an origin by its own word. */
  readonly followed: number
  /** WebRTC sessions. */
  readonly sessions: number
  /** HLS sessions. */
  readonly hlsSessions: number
  readonly picks: Readonly<Record<PickResult, number>>
}
