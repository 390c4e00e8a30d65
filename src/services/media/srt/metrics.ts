import { Counter, Gauge, registerReadCounter, type Registry } from '../../../mechanisms/telemetry/index.ts'
import type { Calls } from './calls.ts'
import type { Front } from './front.ts'
import type { Sessions } from './sessions.ts'

/** Declares the service's metrics; each reads plain numbers when it is scraped. */
export function declareMetrics(registry: Registry, front: Front, calls: Calls, sessions: Sessions): void {
  const registers = [registry]
  const live = new Gauge({
    name: 'sluice_srt_sessions',
    help: 'Live SRT sessions.',
    labelNames: ['role'],
    registers,
    collect: () => {
      const count = { publish: 0, play: 0 }
      for (const { role } of sessions) count[role]++
      for (const [role, number] of Object.entries(count)) live.set({ role }, number)
    },
  })
  const dialogues: Gauge = new Gauge({
    name: 'sluice_srt_dialogues',
    help: 'SRT callers for whom an origin is being found.',
    registers,
    collect: () => {
      dialogues.set(calls.dialogues)
    },
  })
  const inductions: Counter = new Counter({
    name: 'sluice_srt_inductions_total',
    help: 'SRT inductions that were answered with a cookie.',
    registers,
    collect: () => {
      inductions.reset()
      inductions.inc(front.inductions)
    },
  })
  registerReadCounter(
    registry,
    'sluice_srt_packets_total',
    'SRT datagrams of sessions passed on.',
    'direction',
    () => {
      sessions.count()
      return { from_caller: sessions.fromCallers.packets, from_origin: sessions.fromOrigins.packets }
    },
  )
  registerReadCounter(
    registry,
    'sluice_srt_bytes_total',
    'UDP payload of SRT sessions passed on.',
    'direction',
    () => {
      sessions.count()
      return { from_caller: sessions.fromCallers.bytes, from_origin: sessions.fromOrigins.bytes }
    },
  )
  registerReadCounter(
    registry,
    'sluice_srt_dropped_total',
    'Datagrams that belong to no session and no call.',
    'reason',
    () => front.dropped,
  )
  registerReadCounter(registry, 'sluice_srt_refused_total', 'SRT callers that were refused.', 'code', () =>
    Object.fromEntries(calls.refused),
  )
  registerReadCounter(
    registry,
    'sluice_srt_origin_failures_total',
    'Origins that were passed over.',
    'code',
    () => Object.fromEntries(calls.originFailures),
  )
  registerReadCounter(
    registry,
    'sluice_srt_sessions_ended_total',
    'SRT sessions that ended.',
    'reason',
    () => sessions.ended,
  )
}
