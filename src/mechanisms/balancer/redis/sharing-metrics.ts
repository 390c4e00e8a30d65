import { Counter, Gauge, type Registry } from 'prom-client'
import type { SharedPicksStats } from './shared-picks.ts'

/** Declares what it takes to share picks in `registry`; `stats` is read at each scrape. */
export function registerSharingMetrics(registry: Registry, stats: () => SharedPicksStats): void {
  const registers = [registry]
  void new Gauge({
    name: 'sluice_shared_streams',
    help: 'Stream keys whose use by this gateway is kept in Redis.',
    registers,
    collect() {
      this.set(stats().held)
    },
  })
  void new Counter({
    name: 'sluice_shared_picks_total',
    help: 'Choices of an origin that asked Redis (asked), or did without as it was away or slow (alone).',
    labelNames: ['how'],
    registers,
    collect() {
      this.reset()
      const { asked, alone } = stats()
      this.inc({ how: 'asked' }, asked)
      this.inc({ how: 'alone' }, alone)
    },
  })
  void new Counter({
    name: 'sluice_shared_conflicts_total',
    help: 'Publishers of one stream that were found live at two origins.',
    registers,
    collect() {
      this.reset()
      this.inc(stats().conflicts)
    },
  })
}
