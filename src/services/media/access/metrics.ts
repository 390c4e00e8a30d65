import { Counter, Gauge, Histogram, type Registry } from '../../../mechanisms/telemetry/index.ts'

/** What access counts. */
export interface AccessMetrics {
  readonly decisions: Counter<'protocol' | 'role' | 'result'>
  readonly ended: Counter<'reason'>
  readonly hookSeconds: Histogram<'event' | 'result'>
  readonly noticesDropped: Counter
  readonly keyFetches: Counter<'result'>
}

/** Declares the metrics of access. `sessions` tells how many are let in now. */
export function accessMetrics(
  registry: Registry,
  sessions: () => Readonly<Record<'publish' | 'play', number>>,
): AccessMetrics {
  const registers = [registry]
  void new Gauge({
    name: 'sluice_access_sessions',
    help: 'Sessions that were let in and are not over, by role.',
    labelNames: ['role'],
    registers,
    collect() {
      for (const [role, count] of Object.entries(sessions())) this.set({ role }, count)
    },
  })
  return {
    decisions: new Counter({
      name: 'sluice_access_decisions_total',
      help: 'Who asked to publish or play, by protocol, role and result: allowed, or the code of the refusal.',
      labelNames: ['protocol', 'role', 'result'],
      registers,
    }),
    ended: new Counter({
      name: 'sluice_access_sessions_ended_total',
      help: 'Sessions that were ended because their token had expired or their key was taken away, by reason.',
      labelNames: ['reason'],
      registers,
    }),
    hookSeconds: new Histogram({
      name: 'sluice_access_hook_seconds',
      help: 'How long hook servers took to answer who may publish and play, by event and result.',
      labelNames: ['event', 'result'],
      buckets: [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30],
      registers,
    }),
    noticesDropped: new Counter({
      name: 'sluice_access_hook_notices_dropped_total',
      help: 'on_unpublish and on_stop that were not told: too many waited, or the server was away for too long.',
      registers,
    }),
    keyFetches: new Counter({
      name: 'sluice_access_key_fetches_total',
      help: 'Fetches of the keys of tokens (JWKS), by result.',
      labelNames: ['result'],
      registers,
    }),
  }
}
