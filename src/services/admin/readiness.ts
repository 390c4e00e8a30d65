/**
 * What must hold for the gateway to be ready. `reason` names it in the answer of `/readyz`, and holds no secret. `isDegraded`:
 * it holds, but something that an operator should see to does not; the gateway stays in rotation.
 */
export type ReadinessCheck = () => {
  readonly ok: boolean
  readonly isDegraded?: boolean
  readonly reason: string
}

/** What `/readyz` tells. */
export interface ReadinessView {
  readonly ready: boolean
  /** Only there when it is true. */
  readonly degraded?: true
  /** Why it is not ready, or else why it is degraded. */
  readonly reasons: readonly string[]
}

/** Asks all of them. */
export function readinessView(checks: readonly ReadinessCheck[]): ReadinessView {
  const results = checks.map((check) => check())
  const failed = results.filter(({ ok }) => !ok)
  if (failed.length > 0) return { ready: false, reasons: failed.map(({ reason }) => reason) }
  const degraded = results.filter(({ isDegraded = false }) => isDegraded)
  if (degraded.length === 0) return { ready: true, reasons: [] }
  return { ready: true, degraded: true, reasons: degraded.map(({ reason }) => reason) }
}
