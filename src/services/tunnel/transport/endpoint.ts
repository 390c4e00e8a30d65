/** Where to connect. */
export interface Endpoint {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string
  readonly port: number
}

/** As in a `Host` header: `a.example.com:7000`, `[::1]:7000`. */
export function formatEndpoint({ host, port }: Endpoint): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** `[::1]` as `::1`. */
export function withoutBrackets(host: string): string {
  return /^\[.*\]$/.test(host) ? host.slice(1, -1) : host
}
