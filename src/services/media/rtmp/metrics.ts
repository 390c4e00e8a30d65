import { Counter, Gauge, type Registry } from '../../../mechanisms/telemetry/index.ts'

/** What the service knows when metrics are read. */
export interface RtmpCounts {
  readonly connections: number
  /** Connections closed at once because of a bound. */
  readonly refused: number
  /** Connections that were lost before their PROXY protocol header or TLS handshake was there, by reason. */
  readonly unfinished: Readonly<Record<'proxy_header' | 'handshake' | 'overdue' | 'displaced', number>>
  readonly publishers: number
  readonly players: number
  /** Bytes received from clients and sent to clients, those of ended sessions included. */
  readonly bytesIn: number
  readonly bytesOut: number
}

/** Declares the metrics of RTMP, and gives the counter of errors. */
export function registerRtmpMetrics(registry: Registry, counts: () => RtmpCounts): Counter<'code'> {
  void new Gauge({
    name: 'sluice_rtmp_connections',
    help: 'Open connections of clients, in the dialogue or joined.',
    registers: [registry],
    collect() {
      this.set(counts().connections)
    },
  })
  void new Counter({
    name: 'sluice_rtmp_connections_refused_total',
    help: 'Connections closed at once because there were too many, in all or of one address.',
    registers: [registry],
    collect() {
      this.reset()
      this.inc(counts().refused)
    },
  })
  void new Counter({
    name: 'sluice_rtmp_connections_unfinished_total',
    help: 'Connections that ended before their PROXY protocol header or TLS handshake was over, by reason.',
    labelNames: ['reason'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [reason, count] of Object.entries(counts().unfinished)) this.inc({ reason }, count)
    },
  })
  void new Gauge({
    name: 'sluice_rtmp_sessions',
    help: 'Clients joined to an origin, by role.',
    labelNames: ['role'],
    registers: [registry],
    collect() {
      const { publishers, players } = counts()
      this.set({ role: 'publish' }, publishers)
      this.set({ role: 'play' }, players)
    },
  })
  void new Counter({
    name: 'sluice_rtmp_bytes_total',
    help: 'Bytes of joined clients: in, from the client; out, to the client.',
    labelNames: ['direction'],
    registers: [registry],
    collect() {
      const { bytesIn, bytesOut } = counts()
      this.reset()
      this.inc({ direction: 'in' }, bytesIn)
      this.inc({ direction: 'out' }, bytesOut)
    },
  })
  return new Counter({
    name: 'sluice_rtmp_errors_total',
    help: 'Clients that were cut or refused, origins that failed and joins that broke, by code.',
    labelNames: ['code'],
    registers: [registry],
  })
}
