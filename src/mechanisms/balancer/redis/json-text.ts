import type { z } from 'zod'

/** What a JSON text holds, when it is within the bound and of the wanted shape. */
export function readJson<T>(text: string, maxLength: number, schema: z.ZodType<T>): T | undefined {
  if (text.length > maxLength) return undefined
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  const { data } = schema.safeParse(parsed)
  return data
}
