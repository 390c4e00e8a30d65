import { Counter, Gauge, type Registry } from 'prom-client'
import { BatchHistogram } from './batch-histogram.ts'
import { type Datapath, type DatapathTotals, DROP_REASONS } from './contract.ts'

/** Metrics of an engine that does many datagrams per system call. */
const batchMetrics = {
  received: ['receive_datagrams', 'Datagrams per receive call'],
  sent: ['send_messages', 'Messages per send call'],
  segments: ['message_segments', 'Datagrams per message sent, which the system cuts (UDP GSO)'],
} as const

const directions = ['forwarded', 'delivered', 'sent'] as const

/**
 * Registers the metrics of an engine. They are read from `totals` at each scrape; the packet path knows
 * nothing of them.
 */
export function registerDatapathMetrics(registry: Registry, datapath: Pick<Datapath, 'totals'>): void {
  const perDirection = (of: (totals: DatapathTotals, direction: (typeof directions)[number]) => number) =>
    function collect(this: Counter<'direction'>): void {
      const totals = datapath.totals()
      this.reset()
      for (const direction of directions) this.inc({ direction }, of(totals, direction))
    }
  const packets = new Counter({
    name: 'sluice_datapath_packets_total',
    help: 'Datagrams that flows forwarded, that were delivered to TypeScript, and that it sent',
    labelNames: ['direction'],
    registers: [],
    collect: perDirection((totals, direction) => totals[direction].packets),
  })
  const bytes = new Counter({
    name: 'sluice_datapath_bytes_total',
    help: 'Bytes of UDP payload of the datagrams in sluice_datapath_packets_total',
    labelNames: ['direction'],
    registers: [],
    collect: perDirection((totals, direction) => totals[direction].bytes),
  })
  const dropped = new Counter({
    name: 'sluice_datapath_dropped_packets_total',
    help: 'Datagrams that the engine dropped',
    labelNames: ['reason'],
    registers: [],
    collect() {
      const totals = datapath.totals()
      this.reset()
      for (const reason of DROP_REASONS) this.inc({ reason }, totals.dropped[reason])
    },
  })
  const endpoints = new Gauge({
    name: 'sluice_datapath_endpoints',
    help: 'Bound endpoints',
    registers: [],
    collect() {
      this.set(datapath.totals().endpoints)
    },
  })
  const flows = new Gauge({
    name: 'sluice_datapath_flows',
    help: 'Flows of all endpoints',
    registers: [],
    collect() {
      this.set(datapath.totals().flows)
    },
  })
  const threads = new Gauge({
    name: 'sluice_datapath_threads',
    help: 'Threads that move datagrams, besides that of JavaScript',
    registers: [],
    collect() {
      this.set(datapath.totals().threads)
    },
  })
  const busySeconds = new Counter({
    name: 'sluice_datapath_busy_seconds_total',
    help: 'How long the threads in sluice_datapath_threads have worked, all together',
    registers: [],
    collect() {
      this.reset()
      this.inc(datapath.totals().busySeconds)
    },
  })
  for (const stage of ['received', 'sent', 'segments'] as const) {
    const [name, help] = batchMetrics[stage]
    const read = () => datapath.totals().batches?.[stage]
    registry.registerMetric(new BatchHistogram(`sluice_datapath_${name}`, help, read))
  }
  registry.registerMetric(threads)
  registry.registerMetric(busySeconds)
  registry.registerMetric(packets)
  registry.registerMetric(bytes)
  registry.registerMetric(dropped)
  registry.registerMetric(endpoints)
  registry.registerMetric(flows)
}
