/** A port that an origin listens on. */
export interface OriginEndpoint {
  /** Lower case; absent where the text names none. */
  readonly protocol?: string
  readonly port: number
}

/** The lists of endpoints that an origin announces, in the order in which the SRS proxy writes them. */
export const ENDPOINT_LISTS = ['rtmp', 'http', 'api', 'srt', 'rtc'] as const

export type EndpointList = (typeof ENDPOINT_LISTS)[number]

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

/** The port that a text in one of the lists stands for: `other` when it is of a transport that is not relayed there. */
export function originPort(list: EndpointList, text: string): number | 'other' | undefined {
  const endpoint = parseOriginEndpoint(text)
  if (endpoint === undefined) return undefined
  // WebRTC over TCP is not relayed.
  const isUdp = list === 'srt' || list === 'rtc'
  const { protocol, port } = endpoint
  if (isUdp ? protocol !== undefined && protocol !== 'udp' : protocol === 'udp') return 'other'
  // WebRTC at port 0: each SDP answer names its own.
  return port === 0 && list !== 'rtc' ? undefined : port
}
