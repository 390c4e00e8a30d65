import { isIP } from 'node:net'
import { z } from 'zod'
import { isCidr, parseListenText } from '../net/index.ts'

/** Values that several sections of the configuration have. */

export const listenText: z.ZodString = z.string().refine((text) => parseListenText(text) !== undefined, {
  error:
    'must be a port (8080), a port on every address (:8080), or an address and a port (127.0.0.1:8080, [::1]:8080)',
})

export const address: z.ZodString = z
  .string()
  .refine((text) => isIP(text) !== 0, { error: 'must be a literal IPv4 or IPv6 address' })

export const cidr: z.ZodString = z
  .string()
  .refine(isCidr, { error: 'must be an address or a range such as 10.0.0.0/8 or fd00::/8' })

export const secret: z.ZodString = z
  .string()
  .min(1, { error: 'must not be empty' })
  .max(4096)
  .meta({ secret: true })

export const seconds: z.ZodNumber = z.number().positive().max(31_536_000)

/** At most this many entries in a list of the configuration. */
export const LIST_MAX = 256
