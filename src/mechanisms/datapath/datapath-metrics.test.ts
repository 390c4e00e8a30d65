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
    busySeconds: 1.5,
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
  expect(first).toContain('sluice_datapath_threads 1')
  expect(first).toContain('sluice_datapath_busy_seconds_total 1.5')
  // An engine without batches has a name for them, and no numbers.
  expect(first).not.toMatch(/^sluice_datapath_receive_datagrams/m)
  const sizes = { counts: [5, 4, 0, 0, 0, 0, 1], sum: 77 }
  totals = { ...totals, batches: { received: sizes, sent: sizes, segments: sizes } }
  const lines = (await registry.metrics()).split('\n')
  expect(lines.filter((line) => line.startsWith('sluice_datapath_message_segments'))).toEqual([
    'sluice_datapath_message_segments_bucket{le="1"} 5',
    ...[3, 7, 15, 31, 63].map((le) => `sluice_datapath_message_segments_bucket{le="${le}"} 9`),
    'sluice_datapath_message_segments_bucket{le="+Inf"} 10',
    'sluice_datapath_message_segments_sum 77',
    'sluice_datapath_message_segments_count 10',
  ])
  totals = { ...totals, forwarded: { packets: 4, bytes: 400 } }
  expect(await registry.metrics()).toContain('sluice_datapath_packets_total{direction="forwarded"} 4')
})
