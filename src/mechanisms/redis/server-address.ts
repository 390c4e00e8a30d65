/** Where a server listens. */
export interface ServerAddress {
  /** A name or a literal address, IPv6 without brackets. */
  readonly host: string
  readonly port: number
}

/**
 * Reads `host:port`, `host`, `[::1]:port` and `[::1]`. Undefined when it is none of these.
 */
export function parseServerAddress(text: string, defaultPort: number): ServerAddress | undefined {
  const match = /^(?:\[([\da-f:.]{2,45})\]|([\w.-]{1,253}))(?::(\d{1,5}))?$/i.exec(text)
  const host = match?.[1] ?? match?.[2]
  if (host === undefined) return undefined
  const port = Number(match?.[3] ?? defaultPort)
  return port > 0 && port <= 65_535 ? { host, port } : undefined
}

/** `host:port`, brackets around IPv6. */
export function serverAddressText({ host, port }: ServerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
