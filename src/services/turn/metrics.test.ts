import { describe, expect, it } from 'vitest'
import { createRegistry } from '../../mechanisms/telemetry/index.ts'
import { TurnStats } from './core/turn-stats.ts'
import { registerEventMetrics, registerTurnMetrics, type TurnCounts } from './metrics.ts'

function counts(): TurnCounts {
  const stats = new TurnStats()
  stats.created = 7
  stats.malformed = 2
  stats.ended.expired = 3
  stats.ended.killed = 1
  stats.count('allocate', 401)
  stats.count('allocate', 'success')
  stats.count('allocate', 'success')
  stats.count('channel-bind', 403)
  const traffic = { connectionsTotal: 9, rx: { packets: 10, bytes: 1000 }, tx: { packets: 20, bytes: 2000 } }
  return {
    stats,
    dataDropped: {
      'no-allocation': 1,
      'no-permission': 2,
      'no-channel': 3,
      malformed: 4,
      limit: 5,
      queue: 6,
    },
    unanswered: 8,
    connectionRefusals: {
      'over-cap': 1,
      'bad-proxy-header': 2,
      'failed-handshake': 3,
      overdue: 4,
      displaced: 5,
    },
    listeners: [
      { name: 'udp', connections: 3, ...traffic },
      { name: 'tls', connections: 0, ...traffic, rx: { packets: 0, bytes: 0 } },
    ],
    detours: { size: 4, proved: 6, refused: { limit: 2, failed: 1 } },
  }
}

async function samples(registry: ReturnType<typeof createRegistry>): Promise<readonly string[]> {
  const text = await registry.metrics()
  return text.split('\n').filter((line) => line.startsWith('sluice_turn'))
}

describe('metrics of the TURN server', () => {
  it('say what it knows, with labels from closed sets', async () => {
    const registry = createRegistry('1.2.3')
    registerTurnMetrics(registry, counts)
    const expected = [
      'sluice_turn_allocations{listener="udp"} 3',
      'sluice_turn_allocations{listener="tls"} 0',
      'sluice_turn_allocations_created_total 7',
      'sluice_turn_allocations_ended_total{reason="released"} 0',
      'sluice_turn_allocations_ended_total{reason="expired"} 3',
      'sluice_turn_allocations_ended_total{reason="disconnected"} 0',
      'sluice_turn_allocations_ended_total{reason="killed"} 1',
      'sluice_turn_allocations_ended_total{reason="closed"} 0',
      'sluice_turn_answers_total{method="allocate",result="401"} 1',
      'sluice_turn_answers_total{method="allocate",result="success"} 2',
      'sluice_turn_answers_total{method="channel-bind",result="403"} 1',
      'sluice_turn_unanswered_requests_total 8',
      'sluice_turn_connections_refused_total{reason="over-cap"} 1',
      'sluice_turn_connections_refused_total{reason="bad-proxy-header"} 2',
      'sluice_turn_connections_refused_total{reason="failed-handshake"} 3',
      'sluice_turn_connections_refused_total{reason="overdue"} 4',
      'sluice_turn_connections_refused_total{reason="displaced"} 5',
      'sluice_turn_malformed_messages_total 2',
      'sluice_turn_dropped_messages_total{reason="no-allocation"} 1',
      'sluice_turn_dropped_messages_total{reason="no-permission"} 2',
      'sluice_turn_dropped_messages_total{reason="no-channel"} 3',
      'sluice_turn_dropped_messages_total{reason="malformed"} 4',
      'sluice_turn_dropped_messages_total{reason="limit"} 5',
      'sluice_turn_dropped_messages_total{reason="queue"} 6',
      'sluice_turn_detours 4',
      'sluice_turn_detours_opened_total 6',
      'sluice_turn_detours_refused_total{reason="limit"} 2',
      'sluice_turn_detours_refused_total{reason="failed"} 1',
      'sluice_turn_listener_packets_total{listener="udp",direction="rx"} 10',
      'sluice_turn_listener_packets_total{listener="udp",direction="tx"} 20',
      'sluice_turn_listener_packets_total{listener="tls",direction="rx"} 0',
      'sluice_turn_listener_packets_total{listener="tls",direction="tx"} 20',
      'sluice_turn_listener_bytes_total{listener="udp",direction="rx"} 1000',
      'sluice_turn_listener_bytes_total{listener="udp",direction="tx"} 2000',
      'sluice_turn_listener_bytes_total{listener="tls",direction="rx"} 0',
      'sluice_turn_listener_bytes_total{listener="tls",direction="tx"} 2000',
    ]
    expect(await samples(registry)).toEqual(expected)
    // A second reading counts nothing twice.
    expect(await samples(registry)).toEqual(expected)
  })

  it('are all taken away again, so that a server after it can have them', async () => {
    const registry = createRegistry('1.2.3')
    registerTurnMetrics(registry, counts)()
    expect(await samples(registry)).toEqual([])
    registerTurnMetrics(registry, counts)
    expect(await samples(registry)).toContain('sluice_turn_allocations_created_total 7')
  })

  it('count events that were lost', async () => {
    const registry = createRegistry('1.2.3')
    registerEventMetrics(registry, () => 4)
    expect(await samples(registry)).toEqual(['sluice_turn_events_lost_total 4'])
  })
})
