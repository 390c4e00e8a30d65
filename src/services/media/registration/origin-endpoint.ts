/** A port that an origin listens on. */
export interface OriginEndpoint {
  /** Lower case; absent where the text names none. */
  readonly protocol?: string
  readonly port: number
}

const PATTERN = /^(?:([a-z][a-z0-9+.-]*):\/\/|(tcp|udp):)?(?:(?:\[[0-9a-f:.%]*\]|[^\s/:[\]]*):)?(\d{1,5})$/i

/**
 * Reads the text of an endpoint in every form that origins use: `1935`, `0.0.0.0:1935`, `[::]:1935`, `tcp://ip:port`,
 * `udp://:port`, `proto://port`, `proto:ip:port`. The address in it is where the origin binds, not where it is
 * reached, so only protocol and port remain. Undefined when it is none of these. Reference: endpoint texts.
 */
export function parseOriginEndpoint(text: string): OriginEndpoint | undefined {
  const match = PATTERN.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) return undefined
  const protocol = match[1] ?? match[2]
  return protocol === undefined ? { port } : { protocol: protocol.toLowerCase(), port }
}
