import { z } from 'zod'
import { secret } from './fields.ts'
import type { FleetConfig } from './fleet-config.ts'

export const fleetSchema: z.ZodPrefault<z.ZodType<FleetConfig>> = z
  .strictObject({
    id: z
      .string()
      .regex(/^[\w.-]{1,48}$/, { error: 'must be 1 to 48 of A-Z a-z 0-9 . _ -' })
      .optional()
      .describe(
        'Names this gateway among those that share a Redis; 8 random hex digits are put behind it, anew at each start. Absent: the host name.',
      ),
    secret: secret
      .min(16, { error: 'must have at least 16 characters' })
      .optional()
      .describe(
        'Seals what gateways keep in Redis for each other; the same for all of them. Absent: nothing secret is kept there, so a WebRTC session that another gateway takes over is bound by its address alone.',
      ),
    leaseSeconds: z
      .int()
      .min(3)
      .max(3600)
      .default(15)
      .describe('A gateway that is not heard of for so long is gone, and what it held is given back.'),
  })
  .prefault({})
