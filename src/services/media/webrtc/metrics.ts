import { Gauge, registerReadCounter, type Registry } from '../../../mechanisms/telemetry/index.ts'
import type { SessionLookups } from './session-lookups.ts'
import type { SessionTakeover } from './session-takeover.ts'
import type { Sessions } from './sessions.ts'

/** Declares the service's metrics; each reads plain numbers when it is scraped. */
export function declareMetrics(
  registry: Registry,
  sessions: Sessions,
  errors: ReadonlyMap<string, number>,
): void {
  const { media } = sessions
  const registers = [registry]
  const gauge = new Gauge({
    name: 'sluice_webrtc_sessions',
    help: 'Live WebRTC sessions.',
    labelNames: ['role'],
    registers,
    collect: () => {
      const count = { publish: 0, play: 0 }
      for (const { role } of sessions.table.serving()) count[role]++
      for (const [role, live] of Object.entries(count)) gauge.set({ role }, live)
    },
  })
  const unproven: Gauge = new Gauge({
    name: 'sluice_webrtc_tcp_unproven',
    help: 'ICE-TCP connections that have not proved a session yet.',
    registers,
    collect: () => {
      unproven.set(sessions.tcp.unproven)
    },
  })
  registerReadCounter(
    registry,
    'sluice_webrtc_packets_total',
    'WebRTC datagrams passed on.',
    'direction',
    () => {
      media.count()
      return { from_client: media.fromClients.packets, from_origin: media.fromOrigins.packets }
    },
  )
  registerReadCounter(
    registry,
    'sluice_webrtc_bytes_total',
    'UDP payload of WebRTC passed on.',
    'direction',
    () => {
      media.count()
      return { from_client: media.fromClients.bytes, from_origin: media.fromOrigins.bytes }
    },
  )
  registerReadCounter(
    registry,
    'sluice_webrtc_strangers_dropped_total',
    'Datagrams of unknown senders that proved no session.',
    'reason',
    () => media.strangersDropped,
  )
  registerReadCounter(
    registry,
    'sluice_webrtc_tcp_cut_total',
    'ICE-TCP connections that were cut because they proved no session.',
    'reason',
    () => sessions.tcp.unprovenCut,
  )
  registerReadCounter(
    registry,
    'sluice_webrtc_tcp_dropped_total',
    'Datagrams for ICE-TCP clients that did not fit.',
    'reason',
    () => ({
      queue: sessions.tcp.dropped,
    }),
  )
  registerReadCounter(
    registry,
    'sluice_webrtc_sessions_ended_total',
    'WebRTC sessions that ended.',
    'reason',
    () => sessions.ended,
  )
  registerReadCounter(
    registry,
    'sluice_webrtc_errors_total',
    'WHIP and WHEP requests that failed.',
    'code',
    () => Object.fromEntries(errors),
  )
}

/** The same where gateways share a store. */
export function declareSharedMetrics(
  registry: Registry,
  lookups: SessionLookups,
  takeover: SessionTakeover,
): void {
  registerReadCounter(
    registry,
    'sluice_webrtc_lookups_total',
    'Sessions of other gateways that were looked up (found, unknown, failed), or not: known to be unknown (remembered), looked up already (joined), or over a bound (source, rate, in-flight).',
    'result',
    () => lookups.results,
  )
  registerReadCounter(
    registry,
    'sluice_webrtc_takeovers_total',
    'Sessions of other gateways that go on here.',
    'result',
    () => takeover.results,
  )
  registerReadCounter(
    registry,
    'sluice_webrtc_unverified_total',
    'Requests of sessions that nobody can prove.',
    'result',
    () => takeover.unverified,
  )
}
