import type { Origin } from './contract.ts'

/** An origin as the HTTP APIs show it. */
export type OriginView = Omit<Origin, 'lastHeartbeatMs'> & {
  /** ISO 8601. */
  readonly lastHeartbeat: string
  readonly lastHeartbeatAgeSeconds: number
}

/** `nowMs` is wall time. */
export function originView(origin: Origin, nowMs: number): OriginView {
  const { lastHeartbeatMs, ...shown } = origin
  return {
    ...shown,
    lastHeartbeat: new Date(lastHeartbeatMs).toISOString(),
    lastHeartbeatAgeSeconds: Math.max(0, Math.round((nowMs - lastHeartbeatMs) / 1000)),
  }
}
