import type { ListenerCounts } from '../../../mechanisms/net/index.ts'
import { Counter, Gauge, type Registry } from '../../../mechanisms/telemetry/index.ts'

/** The counter of errors that the edge and its handlers share on one registry. */
export function errorsCounter(registry: Registry): Counter<'code'> {
  const existing = registry.getSingleMetric(NAME)
  if (existing instanceof Counter) return existing
  return new Counter({
    name: NAME,
    help: 'Requests refused, origins that failed and bodies that ended early, by code.',
    labelNames: ['code'],
    registers: [registry],
  })
}

const NAME = 'sluice_http_errors_total'

/** What the edge tells of its connections. */
export interface EdgeCounts {
  readonly connections: () => number
  readonly unfinished: () => ListenerCounts
}

/** Registers what is looked up when somebody asks. */
export function registerEdgeMetrics(registry: Registry, { connections, unfinished }: EdgeCounts): void {
  const gauge = new Gauge({
    name: 'sluice_http_connections',
    help: 'Open connections of clients.',
    registers: [],
    collect() {
      this.set(connections())
    },
  })
  const counter = new Counter({
    name: 'sluice_http_unfinished_connections_total',
    help: 'Connections that ended before they could speak HTTP, by reason: within the header of a balancer or a TLS handshake.',
    labelNames: ['reason'],
    registers: [],
    collect() {
      const { badProxyHeaders, failedHandshakes, overdue, displaced } = unfinished()
      const counts = {
        'bad-proxy-header': badProxyHeaders,
        'failed-handshake': failedHandshakes,
        overdue,
        displaced,
      }
      this.reset()
      for (const [reason, count] of Object.entries(counts)) this.inc({ reason }, count)
    },
  })
  registry.registerMetric(gauge)
  registry.registerMetric(counter)
}
