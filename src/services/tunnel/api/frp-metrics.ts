import { Counter, Gauge, type Registry } from '../../../mechanisms/telemetry/index.ts'
import type { ProxyReport, TunnelStatistics } from '../statistics/tunnel-statistics.ts'

/** Puts the metrics of frps, with its names and labels, on a registry; a scrape reads them from the books. */
export function registerFrpMetrics(
  registry: Registry,
  statistics: Pick<TunnelStatistics, 'server' | 'proxies'>,
): void {
  registry.registerMetric(
    new Gauge({
      name: 'frp_server_client_counts',
      help: 'Clients that are logged in.',
      registers: [],
      collect() {
        this.set(statistics.server().clients)
      },
    }),
  )
  registry.registerMetric(
    new Gauge({
      name: 'frp_server_proxy_counts',
      help: 'Proxies that are online, by type.',
      labelNames: ['type'],
      registers: [],
      collect() {
        this.reset()
        for (const [type, count] of Object.entries(statistics.server().proxiesByType))
          this.set({ type }, count)
      },
    }),
  )
  const perProxy = (
    name: string,
    help: string,
    labelNames: readonly ('name' | 'type')[],
    read: (report: ProxyReport) => number,
  ): void => {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        labelNames,
        registers: [],
        collect() {
          // Proxies that have been forgotten go.
          this.reset()
          for (const report of statistics.proxies())
            this.set({ name: report.name, type: report.type }, read(report))
        },
      }),
    )
  }
  perProxy(
    'frp_server_proxy_counts_detailed',
    'Whether a proxy is online: 1 or 0.',
    ['type', 'name'],
    ({ current }) => (current === undefined ? 0 : 1),
  )
  perProxy(
    'frp_server_connection_counts',
    'Connections of users that are open.',
    ['name', 'type'],
    ({ connections }) => connections,
  )
  registerTraffic(registry, statistics, 'in', 'Bytes that came from users.', ({ totalIn }) => totalIn)
  registerTraffic(registry, statistics, 'out', 'Bytes that went to users.', ({ totalOut }) => totalOut)
}

function registerTraffic(
  registry: Registry,
  statistics: Pick<TunnelStatistics, 'proxies'>,
  direction: 'in' | 'out',
  help: string,
  read: (report: ProxyReport) => number,
): void {
  registry.registerMetric(
    new Counter({
      // Without `_total`, as at frp.
      name: `frp_server_traffic_${direction}`,
      help,
      labelNames: ['name', 'type'],
      registers: [],
      collect() {
        this.reset()
        for (const report of statistics.proxies())
          this.inc({ name: report.name, type: report.type }, read(report))
      },
    }),
  )
}
