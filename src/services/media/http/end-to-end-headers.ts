import { type HeaderField, hopByHopHeaders } from '../../../protocols/http/index.ts'

/** The headers that are meant for the other end: without those of the connection and those that it names. */
export function endToEndHeaders(headers: readonly HeaderField[]): HeaderField[] {
  const named = new Set<string>()
  for (const { name, value } of headers) {
    if (name.toLowerCase() !== 'connection') continue
    for (const option of value.split(',')) named.add(option.trim().toLowerCase())
  }
  return headers.filter(({ name }) => {
    const lower = name.toLowerCase()
    return !hopByHopHeaders.has(lower) && !named.has(lower)
  })
}

/** Pairs of name and value out of the flat list in which node:http gives and takes headers. */
export function fieldsOfRaw(raw: readonly string[]): HeaderField[] {
  const fields: HeaderField[] = []
  for (let at = 0; at + 1 < raw.length; at += 2)
    fields.push({ name: raw[at] ?? '', value: raw[at + 1] ?? '' })
  return fields
}

export function rawOfFields(fields: readonly HeaderField[]): string[] {
  return fields.flatMap(({ name, value }) => [name, value])
}
