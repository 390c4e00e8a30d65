import { hopByHopHeaders } from '../../../protocols/http/index.ts'

/** Headers as node:http has them: name, value, name, value. Names in their own spelling, values in latin1. */
export type RawHeaders = readonly string[]

/** All values of a header, joined as a list; undefined when it is not there. */
export function headerValue(headers: RawHeaders, name: string): string | undefined {
  let joined: string | undefined
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() !== name) continue
    const value = headers[at + 1] ?? ''
    joined = joined === undefined ? value : `${joined}, ${value}`
  }
  return joined
}

/** How often a header is there. */
export function headerCount(headers: RawHeaders, name: string): number {
  let count = 0
  for (let at = 0; at + 1 < headers.length; at += 2) if (headers[at]?.toLowerCase() === name) count++
  return count
}

/** Whether a header that is a list has the token, in any case. */
export function hasToken(headers: RawHeaders, name: string, token: string): boolean {
  const list = headerValue(headers, name)?.split(',') ?? []
  return list.some((item) => item.trim().toLowerCase() === token)
}

/** Headers that are meant for the other end: without those of the connection, those that it names, and `without`. */
export function endToEnd(headers: RawHeaders, without?: ReadonlySet<string>): string[] {
  const named = headerValue(headers, 'connection')?.toLowerCase().split(',')
  const options = named === undefined ? undefined : new Set(named.map((option) => option.trim()))
  const kept: string[] = []
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? ''
    const lower = name.toLowerCase()
    if (hopByHopHeaders.has(lower) || without?.has(lower) === true || options?.has(lower) === true) continue
    kept.push(name, headers[at + 1] ?? '')
  }
  return kept
}

/** Decide how a message is read, and must have been known before its body (RFC 9110 §6.5.1). */
const NOT_TRAILERS = new Set(['content-length', 'host', 'authorization', 'expect', 'set-cookie', 'cookie'])

/** Trailers that may be passed on. */
export function endToEndTrailers(trailers: RawHeaders): string[] {
  return endToEnd(trailers, NOT_TRAILERS)
}

/** Puts each header of `set` in place of all of its name. */
export function override(headers: string[], set: RawHeaders): string[] {
  if (set.length === 0) return headers
  const names = new Set<string>()
  for (let at = 0; at < set.length; at += 2) names.add(set[at]?.toLowerCase() ?? '')
  const kept: string[] = []
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (!names.has(headers[at]?.toLowerCase() ?? '')) kept.push(headers[at] ?? '', headers[at + 1] ?? '')
  }
  kept.push(...set)
  return kept
}

/** As node:http2 takes them: lower case, a list where a name is there more than once. */
export function headerObject(headers: RawHeaders): Record<string, string | string[]> {
  // Names are the peer's, so that `__proto__` must be one like any other.
  const object = Object.create(null) as Record<string, string | string[]>
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at]?.toLowerCase() ?? ''
    const value = headers[at + 1] ?? ''
    const before = object[name]
    if (before === undefined) object[name] = value
    else if (typeof before === 'string') object[name] = [before, value]
    else before.push(value)
  }
  return object
}

/** As `addTrailers` of node:http takes them. */
export function headerPairs(headers: RawHeaders): [string, string][] {
  const pairs: [string, string][] = []
  for (let at = 0; at + 1 < headers.length; at += 2) pairs.push([headers[at] ?? '', headers[at + 1] ?? ''])
  return pairs
}

/** The other way, and the status apart. Pseudo headers are left out; cookies become one. */
export function rawOfObject(headers: object): { readonly status: number; readonly raw: string[] } {
  const raw: string[] = []
  let status = 0
  for (const [name, value] of Object.entries(headers) as [string, unknown][]) {
    if (name === ':status') status = Number(value)
    if (name.startsWith(':') || value === undefined) continue
    for (const item of Array.isArray(value) ? value : [value]) raw.push(name, String(item))
  }
  return { status, raw }
}
