import { Gauge, registerReadCounter, type Registry } from '../telemetry/index.ts'
import type { MessageCounts } from './fleet-bus.ts'

/** Declares the metrics of a fleet in `registry`, which are read at each scrape. */
export function registerFleetMetrics(
  registry: Registry,
  { gateways, messages }: { readonly gateways: () => number; readonly messages: MessageCounts },
): void {
  void new Gauge({
    name: 'sluice_fleet_gateways',
    help: 'Gateways of the fleet that live, as this one knows; this one too.',
    registers: [registry],
    collect() {
      this.set(gateways())
    },
  })
  registerReadCounter(
    registry,
    'sluice_fleet_messages_total',
    'Messages between gateways: sent, lost (Redis was away), received, bad (too long or not to be read).',
    'outcome',
    () => ({ ...messages }),
  )
}
