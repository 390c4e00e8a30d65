import { Counter, Gauge, type Registry } from '../../mechanisms/telemetry/index.ts'
import type { ListenerStats } from '../../services/turn/index.ts'
import type { TrafficCounts } from './cluster-traffic.ts'
import type { TrafficCount } from './turn-dataplane.ts'

/** What the metrics are read from at each scrape. */
export interface StunnerMetricsSource {
  allocationCount(): number
  listenerStats(): readonly ListenerStats[]
  clusterStats(): readonly (TrafficCounts & { readonly name: string })[]
}

/** Registers what STUNner's dashboards are made of, under its names. */
export function registerStunnerMetrics(registry: Registry, source: StunnerMetricsSource): void {
  const allocations = new Gauge({
    name: 'stunner_allocations_active',
    help: 'Allocations at present.',
    registers: [],
    collect() {
      this.set(source.allocationCount())
    },
  })
  const connections = new Gauge({
    name: 'stunner_listener_connections',
    help: 'Clients with an allocation at present, by listener.',
    labelNames: ['name'],
    registers: [],
    collect() {
      this.reset()
      for (const { name, connections: count } of source.listenerStats()) this.set({ name }, count)
    },
  })
  const connectionsTotal = new Counter({
    name: 'stunner_listener_connections_total',
    help: 'Clients that have had an allocation, by listener.',
    labelNames: ['name'],
    registers: [],
    collect() {
      this.reset()
      for (const { name, connectionsTotal: count } of source.listenerStats()) this.inc({ name }, count)
    },
  })
  const traffic = (['listener', 'cluster'] as const).flatMap((kind) => {
    const rows = kind === 'listener' ? () => source.listenerStats() : () => source.clusterStats()
    const who = kind === 'listener' ? 'clients' : 'peers'
    return [
      trafficCounter(
        `stunner_${kind}_packets_total`,
        `Packets from (rx) and to (tx) ${who}.`,
        rows,
        'packets',
      ),
      trafficCounter(`stunner_${kind}_bytes_total`, `Bytes from (rx) and to (tx) ${who}.`, rows, 'bytes'),
    ]
  })
  for (const metric of [allocations, connections, connectionsTotal, ...traffic])
    registry.registerMetric(metric)
}

function trafficCounter(
  name: string,
  help: string,
  rows: () => readonly (TrafficCounts & { readonly name: string })[],
  field: keyof TrafficCount,
): Counter {
  return new Counter({
    name,
    help,
    labelNames: ['name', 'direction'],
    registers: [],
    collect() {
      this.reset()
      for (const row of rows()) {
        this.inc({ name: row.name, direction: 'rx' }, row.rx[field])
        this.inc({ name: row.name, direction: 'tx' }, row.tx[field])
      }
    },
  })
}
