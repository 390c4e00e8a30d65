import type { HeaderField } from '../../../protocols/http/index.ts'

/** Of one connection only, whatever `Connection` names (RFC 9110 §7.6.1), and what we say anew. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** The headers that are meant for the other end: without those of the connection and those that it names. */
export function endToEndHeaders(headers: readonly HeaderField[]): HeaderField[] {
  const named = new Set<string>()
  for (const { name, value } of headers) {
    if (name.toLowerCase() !== 'connection') continue
    for (const option of value.split(',')) named.add(option.trim().toLowerCase())
  }
  return headers.filter(({ name }) => {
    const lower = name.toLowerCase()
    return !HOP_BY_HOP.has(lower) && !named.has(lower)
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
