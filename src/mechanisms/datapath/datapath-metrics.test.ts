import { Registry } from 'prom-client'
import { expect, it } from 'vitest'
import type { DatapathTotals } from './contract.ts'
import { registerDatapathMetrics } from './datapath-metrics.ts'

it('shows the totals of the moment of each scrape', async () => {
  let totals: DatapathTotals = {
    forwarded: { packets: 3, bytes: 300 },
    delivered: { packets: 2, bytes: 20 },
    sent: { packets: 1, bytes: 1 },
    dropped: { stranger: 1, known: 2, meter: 3, paused: 4, queue: 5, error: 6, malformed: 7 },
    threads: 1,
    endpoints: 8,
    flows: 9,
  }
  const registry = new Registry()
  registerDatapathMetrics(registry, { totals: () => totals })
  const first = await registry.metrics()
  expect(first).toContain('sluice_datapath_packets_total{direction="forwarded"} 3')
  expect(first).toContain('sluice_datapath_bytes_total{direction="delivered"} 20')
  expect(first).toContain('sluice_datapath_dropped_packets_total{reason="malformed"} 7')
  expect(first).toContain('sluice_datapath_endpoints 8')
  expect(first).toContain('sluice_datapath_flows 9')
  totals = { ...totals, forwarded: { packets: 4, bytes: 400 } }
  expect(await registry.metrics()).toContain('sluice_datapath_packets_total{direction="forwarded"} 4')
})
