import { z } from 'zod'

/** Looking into a schema: what keys a table has, what a key is, whether it is a secret. */

type Schema = z.core.$ZodType

export function isTable(schema: Schema): schema is z.ZodObject<Readonly<Record<string, Schema>>> {
  return schema instanceof z.ZodObject
}

/** What a file has to say for a schema: without its default, optionality and what is made of it. */
export function unwrapped(schema: Schema): Schema {
  if (schema instanceof z.ZodPipe) return unwrapped(schema.in)
  return schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault || schema instanceof z.ZodOptional
    ? unwrapped(schema.unwrap())
    : schema
}

/** What the schema says of a key, or of the nearest one around it that it knows. */
export function schemaAt(schema: Schema, path: readonly PropertyKey[]): Schema {
  return path.reduce<Schema>((outer, part) => {
    const table = unwrapped(outer)
    if (isTable(table)) return table.shape[String(part)] ?? table
    if (table instanceof z.ZodArray) return table.element
    return table
  }, schema)
}

/** Whether a value is a secret or has one somewhere in it; such a value never reaches an error text. */
export function holdsSecret(schema: Schema): boolean {
  if (z.globalRegistry.get(schema)?.['secret'] === true) return true
  const inner = schema instanceof z.ZodPipe ? schema.in : unwrapOnce(schema)
  if (inner !== undefined) return holdsSecret(inner)
  return isTable(schema) && Object.values(schema.shape).some(holdsSecret)
}

function unwrapOnce(schema: Schema): Schema | undefined {
  if (schema instanceof z.ZodArray) return schema.element
  return schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault || schema instanceof z.ZodOptional
    ? schema.unwrap()
    : undefined
}
