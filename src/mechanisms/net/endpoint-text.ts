import { isIP } from 'node:net'

/** Where a listener binds. */
export interface ListenAddress {
  /** A literal address; absent: every address of the machine, IPv4 and IPv6. */
  readonly host?: string
  /** 0 asks the system for a free port. */
  readonly port: number
}

/**
 * Reads the text of a listener: `8080` and `:8080` (every address), `127.0.0.1:8080`, `[::1]:8080`.
 * Undefined when it is none of these or the port is over 65,535.
 */
export function parseListenText(text: string): ListenAddress | undefined {
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(text)
  if (!match) return undefined
  const port = Number(match[3])
  if (port > 65_535) return undefined
  const host = match[1] ?? match[2] ?? ''
  if (host === '') return { port }
  const family = match[1] === undefined ? 4 : 6
  return isIP(host) === family ? { host, port } : undefined
}

/** The text of a bound address for logs and errors: `127.0.0.1:8080`, `[::1]:8080`, `*:8080`. */
export function formatListenAddress({ host, port }: ListenAddress): string {
  if (host === undefined) return `*:${port}`
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
