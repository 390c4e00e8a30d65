import { Counter, Gauge, type Registry } from '../../../../mechanisms/telemetry/index.ts'
import { errorsCounter } from '../metrics.ts'

/** What the scrape reads. */
export interface HlsReadings {
  viewers(): number
  waiting(): number
  originConnections(): number
  bodies(): Iterable<{ readonly bytesOut: number }>
}

/** The metrics of HLS and DASH. */
export class HlsMetrics {
  readonly requests: Counter<'kind'>
  readonly errors: Counter<'code'>
  /** Bytes of bodies that have ended. */
  bytes = 0

  constructor(registry: Registry, readings: HlsReadings) {
    this.errors = errorsCounter(registry)
    this.requests = new Counter({
      name: 'sluice_hls_requests_total',
      help: 'Requests for playlists, manifests and segments.',
      labelNames: ['kind'],
      registers: [registry],
    })
    const gauge = (name: string, help: string, read: () => number): void => {
      const metric = new Gauge({
        name,
        help,
        registers: [],
        collect() {
          this.set(read())
        },
      })
      registry.registerMetric(metric)
    }
    gauge('sluice_hls_sessions', 'Viewers of HLS and DASH.', () => readings.viewers())
    gauge('sluice_hls_waiting', 'Requests that wait for an origin to come back.', () => readings.waiting())
    gauge('sluice_hls_origin_connections', 'Connections to origins, in use or at rest.', () =>
      readings.originConnections(),
    )
    const bytesOut = (): number => {
      let bytes = this.bytes
      for (const body of readings.bodies()) bytes += body.bytesOut
      return bytes
    }
    registry.registerMetric(
      new Counter({
        name: 'sluice_hls_bytes_total',
        help: 'Bytes of playlists and segments passed to viewers.',
        registers: [],
        collect() {
          this.reset()
          this.inc(bytesOut())
        },
      }),
    )
  }
}
