import type { MeterOptions } from '../contract.ts'
import { DatapathError } from '../errors.ts'

/** How long of the rate may pass at once after silence, in seconds, unless it is said. */
export const defaultBurstSeconds = 1

/** Refuses a meter that makes no sense. @throws DATAPATH_INVALID */
export function checkMeter(options: MeterOptions): void {
  const { burstSeconds = defaultBurstSeconds } = options
  for (const field of ['bytesPerSecond', 'packetsPerSecond'] as const) {
    const perSecond = options[field]
    if (perSecond === undefined || (perSecond >= 0 && burstSeconds >= 0)) continue
    throw new DatapathError(
      'DATAPATH_INVALID',
      `${field} ${perSecond} with burstSeconds ${burstSeconds}: both must be 0 or more`,
    )
  }
}
