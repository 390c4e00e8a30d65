import { isIP } from 'node:net'
import type { ListenAddress } from '../../mechanisms/net/index.ts'

/** Where an HTTP endpoint of the configuration is served. */
export interface HttpEndpointPlace {
  readonly listen: ListenAddress
  /** Begins with a slash. */
  readonly path: string
}

/**
 * Reads `http://address:port/path`; address, port and path may be left out, and without address it is served on every one.
 * Undefined when it is something else.
 */
export function parseHttpEndpoint(text: string, defaultPort: number): HttpEndpointPlace | undefined {
  const [match, v6, v4, digits, path = '/'] =
    /^http:\/\/(?:\[([0-9a-f:.]+)\]|([^/:?#[\]@]*))(?::(\d{1,5}))?(\/[^?#]*)?$/i.exec(text) ?? []
  if (match === undefined) return undefined
  const port = digits === undefined ? defaultPort : Number(digits)
  if (port > 65_535) return undefined
  const host = v6 ?? (v4?.toLowerCase() === 'localhost' ? '127.0.0.1' : v4)
  if (host === undefined || host === '') return { listen: { port }, path }
  return isIP(host) === (v6 === undefined ? 4 : 6) ? { listen: { host, port }, path } : undefined
}
