import { isIP } from 'node:net'
import { plainAddress } from './connection-info.ts'

/** What one proxy says of whom it was asked by. */
export interface ForwardedHop {
  /** Undefined when it does not say, or hides it (`unknown`, `_gazonk`), or says what is no address. */
  readonly address: string | undefined
  /** In lower case. */
  readonly proto?: string
  readonly host?: string
}

/** More than any chain in use has; farther hops are not looked at. */
const MAX_HOPS = 32
/** A longer header says nothing. */
const MAX_LENGTH = 4096

/** Reads X-Forwarded-For: addresses with or without port, the farthest first. */
export function readForwardedFor(header: string): readonly ForwardedHop[] {
  return readList(header).map((text) => ({ address: addressOf(text) }))
}

/** The last entries of a list, blank ones left out. */
export function readList(header: string): readonly string[] {
  if (header.length > MAX_LENGTH) return []
  const parts = header.includes(',') ? header.split(',') : [header]
  return parts
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .slice(-MAX_HOPS)
}

/**
 * Reads Forwarded (RFC 7239 §4): the farthest first. A header that is not in its form says nothing at all, since quotes that
 * do not match would let a client hide what proxies appended.
 */
export function readForwarded(header: string): readonly ForwardedHop[] {
  if (header.length > MAX_LENGTH) return []
  const hops: ForwardedHop[] = []
  let pairs: Map<string, string> | undefined
  let at = 0
  while (at < header.length) {
    PAIR.lastIndex = at
    const match = PAIR.exec(header)
    if (match === null) return []
    at = PAIR.lastIndex
    const [, name, token, quoted, separator] = match
    if (name !== undefined) {
      pairs ??= new Map()
      const key = name.toLowerCase()
      // §4: each parameter at most once per element.
      if (pairs.has(key)) return []
      pairs.set(key, token ?? (quoted ?? '').replaceAll(/\\(.)/g, '$1'))
    }
    if (separator !== ';' && pairs !== undefined) {
      hops.push(hopOf(pairs))
      pairs = undefined
    }
  }
  if (pairs !== undefined) hops.push(hopOf(pairs))
  return hops.slice(-MAX_HOPS)
}

/** A pair or nothing, and what ends it. Values are a token, or a text in quotes. */
const PAIR = /[ \t]*(?:([!#$%&'*+.^_`|~\w-]+)=(?:([!#$%&'*+.^_`|~\w-]+)|"((?:[^"\\]|\\.)*)")[ \t]*)?([;,]|$)/y

function hopOf(pairs: ReadonlyMap<string, string>): ForwardedHop {
  const [proto, host] = [pairs.get('proto')?.toLowerCase(), pairs.get('host')]
  return {
    address: addressOf(pairs.get('for') ?? ''),
    ...(proto !== undefined && { proto }),
    ...(host !== undefined && { host }),
  }
}

/** `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`. */
function addressOf(text: string): string | undefined {
  if (text.length > MAX_ADDRESS) return undefined
  const [, bracketed, plain] = /^(?:\[([^\]]+)\](?::\w+)?|([\d.]+):\w+)$/.exec(text) ?? []
  const address = bracketed ?? plain ?? text
  return isIP(address) === 0 || address.includes('%') ? undefined : plainAddress(address)
}

/** The longest IPv6 address, in brackets, with an obfuscated port. */
const MAX_ADDRESS = 80
