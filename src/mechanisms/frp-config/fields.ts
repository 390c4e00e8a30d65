import { z } from 'zod'
import { isCidr } from '../net/index.ts'
import { parseBandwidth } from '../../protocols/frp/index.ts'
import type { PortRange } from './config.ts'

/** Values that several sections have. frp takes a zero or an empty text for absent, so the default holds then too. */

export function text(fallback: string = ''): z.ZodDefault<z.ZodString> {
  return z
    .string()
    .overwrite((value) => (value === '' ? fallback : value))
    .default(fallback)
}

export const secret: z.ZodDefault<z.ZodString> = z.string().meta({ secret: true }).default('')

export const flag: z.ZodDefault<z.ZodBoolean> = z.boolean().default(false)

export const textList: z.ZodArray<z.ZodString> = z.array(z.string()).max(10_000)

export const texts: z.ZodDefault<z.ZodArray<z.ZodString>> = textList.default([])

export const textMap: z.ZodDefault<z.ZodRecord<z.ZodString, z.ZodString>> = z
  .record(z.string(), z.string())
  .default({})

const portError = { error: 'must be a port number in the range 0..65535' }

/** A port or 0. */
export const portNumber: z.ZodInt = z.int(portError).min(0, portError).max(65_535, portError)

/** A port; 0 is `fallback`. */
export function port(fallback: number): z.ZodDefault<z.ZodInt> {
  return portNumber.overwrite((value) => (value === 0 ? fallback : value)).default(fallback)
}

/** A time or a count over 0; 0 is `fallback`. */
export function positive(fallback: number, most: number = 2_147_483_647): z.ZodDefault<z.ZodInt> {
  return z
    .int()
    .min(0)
    .max(most)
    .overwrite((value) => (value === 0 ? fallback : value))
    .default(fallback)
}

/** A time in seconds; 0 is `fallback`, below 0 is off. */
export function secondsOrOff(fallback: number): z.ZodDefault<z.ZodInt> {
  return z
    .int()
    .min(-1_000_000)
    .max(2_147_483)
    .overwrite((value) => (value === 0 ? fallback : value))
    .default(fallback)
}

export function oneOf<const Values extends readonly [string, ...string[]]>(
  values: Values,
): z.ZodEnum<z.core.util.ToEnum<Values[number]>> {
  return z.enum(values, { error: `is not allowed; allowed: ${values.filter(Boolean).join(', ')}` })
}

/** A name as it was given, for an error text; empty if it is none. */
export function nameOf(input: unknown): string {
  return typeof input === 'string' ? input.slice(0, 80) : ''
}

/** `1MB`, `500KB`, or empty for no limit. */
export const bandwidth: z.ZodDefault<z.ZodString> = z
  .string()
  .trim()
  .refine((value) => value === '' || parseBandwidth(value) !== undefined, {
    error: 'unit not support: must be a number with KB or MB, such as 1MB, of bytes per second',
  })
  .default('')

/** A bandwidth in bytes per second; 0 is no limit. */
export const bytesPerSecond: z.ZodType<number> = bandwidth.transform((value) => parseBandwidth(value) ?? 0)

export const cidr: z.ZodString = z
  .string()
  .refine(isCidr, { error: 'must be an address or a range such as 10.0.0.0/8 or fd00::/8' })

/** `{ start = 1000, end = 2000 }` or `{ single = 80 }`. */
export const portRange: z.ZodType<PortRange> = z
  .strictObject({
    start: portNumber.default(0).describe('The lowest port of a range.'),
    end: portNumber.default(0).describe('The highest.'),
    single: portNumber.default(0).describe('One port, instead of a range.'),
  })
  .check(({ value: { start, end, single }, issues }) => {
    if (single > 0 || (start > 0 && start <= end)) return
    const message = 'must be { single = 80 } or { start = 1000, end = 2000 } with end not less than start'
    issues.push({ code: 'custom', path: [], input: undefined, message })
  })
  .transform(({ start, end, single }) =>
    single > 0 ? { from: single, to: single } : { from: start, to: end },
  )

/** A text that must be there; `error` is said otherwise. */
export function required(error: string): z.ZodString {
  return z.string({ error }).min(1, { error })
}

/** An issue of a check over several keys. */
export function issue(
  path: readonly PropertyKey[],
  message: string,
): { code: 'custom'; path: PropertyKey[]; input: undefined; message: string } {
  return { code: 'custom', path: [...path], input: undefined, message }
}
