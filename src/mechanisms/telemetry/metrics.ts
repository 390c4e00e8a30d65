import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'

export { Counter, Gauge, Histogram, Registry } from 'prom-client'

/**
 * A registry with the process's own metrics and the build's version. Components declare theirs beside their
 * code on the registry that they are given.
 */
export function createRegistry(version: string): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'sluice_build_info',
    help: 'Always 1; the label holds the version.',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version }, 1)
  return registry
}
