import type { Origin, OriginUrlName } from './contract.ts'
import { originUrlPlace } from './origin-target.ts'

/** An origin as the HTTP APIs show it. */
export type OriginView = Omit<Origin, 'lastHeartbeatMs' | 'urls'> & {
  /** Scheme, host and port alone: what stands behind them may be a secret. */
  readonly urls?: Readonly<Partial<Record<OriginUrlName, string>>>
  /** ISO 8601. */
  readonly lastHeartbeat: string
  readonly lastHeartbeatAgeSeconds: number
}

/** `nowMs` is wall time. */
export function originView(origin: Origin, nowMs: number): OriginView {
  const { lastHeartbeatMs, urls, ...shown } = origin
  return {
    ...shown,
    ...(urls !== undefined && { urls: mapValues(urls, originUrlPlace) }),
    lastHeartbeat: new Date(lastHeartbeatMs).toISOString(),
    lastHeartbeatAgeSeconds: Math.max(0, Math.round((nowMs - lastHeartbeatMs) / 1000)),
  }
}

function mapValues(
  urls: NonNullable<Origin['urls']>,
  map: (url: string) => string,
): NonNullable<OriginView['urls']> {
  return Object.fromEntries(Object.entries(urls).map(([name, url]) => [name, map(url)]))
}
