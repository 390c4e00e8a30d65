import { Counter, type Registry } from '../../../mechanisms/telemetry/index.ts'

/** The counter of errors that the edge and its handlers share on one registry. */
export function errorsCounter(registry: Registry): Counter<'code'> {
  const existing = registry.getSingleMetric(NAME)
  if (existing instanceof Counter) return existing
  return new Counter({
    name: NAME,
    help: 'Requests refused, origins that failed and bodies that ended early, by code.',
    labelNames: ['code'],
    registers: [registry],
  })
}

const NAME = 'sluice_http_errors_total'
