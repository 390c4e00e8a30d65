import { Counter, Gauge, type Registry } from 'prom-client'
import type { BalancerStats } from './balancer-stats.ts'

/** Declares the metrics of a balancer in `registry`; `stats` is read at each scrape. */
export function registerBalancerMetrics(registry: Registry, stats: () => BalancerStats): void {
  const registers = [registry]
  void new Gauge({
    name: 'sluice_origins',
    help: 'Registered origins by state.',
    labelNames: ['state'],
    registers,
    collect() {
      for (const [state, count] of Object.entries(stats().origins)) this.set({ state }, count)
    },
  })
  void new Gauge({
    name: 'sluice_origins_draining',
    help: 'Registered origins that get no new stream.',
    registers,
    collect() {
      this.set(stats().draining)
    },
  })
  void new Gauge({
    name: 'sluice_streams',
    help: 'Stream keys that are kept at an origin.',
    registers,
    collect() {
      this.set(stats().streams)
    },
  })
  void new Gauge({
    name: 'sluice_streams_pinned',
    help: 'Stream keys that an operator pinned to an origin.',
    registers,
    collect() {
      this.set(stats().pinned)
    },
  })
  void new Gauge({
    name: 'sluice_streams_followed',
    help: 'Stream keys that are published at an origin by its own word.',
    registers,
    collect() {
      this.set(stats().followed)
    },
  })
  void new Gauge({
    name: 'sluice_balancer_hls_sessions',
    help: 'HLS sessions that the balancer knows.',
    registers,
    collect() {
      this.set(stats().hlsSessions)
    },
  })
  void new Gauge({
    name: 'sluice_balancer_sessions',
    help: 'WebRTC sessions that the balancer knows.',
    registers,
    collect() {
      this.set(stats().sessions)
    },
  })
  void new Counter({
    name: 'sluice_picks_total',
    help: 'Choices of an origin by how they ended.',
    labelNames: ['result'],
    registers,
    collect() {
      this.reset()
      for (const [result, count] of Object.entries(stats().picks)) this.inc({ result }, count)
    },
  })
}
