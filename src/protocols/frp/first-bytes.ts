import { V2_MAGIC } from './framing.ts'

/**
 * What a connection to the bind port is, by its first bytes. `marked-tls`: one byte of frp's own, to be dropped, then TLS.
 * `more`: too few bytes to tell, at most nine.
 */
export type FirstBytes =
  | 'more'
  | 'websocket'
  | 'http'
  | 'tls'
  | 'marked-tls'
  | 'v1'
  | 'v2'
  | 'yamux'
  | 'unknown'

export function classifyFirstBytes(bytes: Uint8Array): FirstBytes {
  const [first, second] = bytes
  switch (first) {
    case undefined:
      return 'more'
    case 0x16:
      return 'tls'
    case 0x17:
      return 'marked-tls'
    case 0x00:
      // Version 0, then a frame type: data or window update.
      if (second === undefined) return 'more'
      return second <= 1 ? 'yamux' : 'unknown'
    case letter('o'):
    case letter('w'):
    case letter('v'):
      return 'v1'
    default:
      return classifyText(bytes)
  }
}

function classifyText(bytes: Uint8Array): FirstBytes {
  const isMagic = comparePrefix(bytes, V2_MAGIC)
  if (isMagic !== 'no') return isMagic === 'yes' ? 'v2' : 'more'
  const isWebSocket = comparePrefix(bytes, webSocketRequest)
  if (isWebSocket !== 'no') return isWebSocket === 'yes' ? 'websocket' : 'more'
  if (bytes.length < httpMethodBytes) {
    return httpMethods.some((method) => comparePrefix(bytes, method) === 'maybe') ? 'more' : 'unknown'
  }
  return httpMethods.some((method) => comparePrefix(bytes, method) === 'yes') ? 'http' : 'unknown'
}

const webSocketRequest = Buffer.from('GET /~!frp')

const httpMethods = ['GET', 'HEA', 'POS', 'PUT', 'DEL', 'CON', 'OPT', 'TRA', 'PAT', 'PRI'].map((start) =>
  Buffer.from(start),
)

/** As much of a method as frp looks at. */
const httpMethodBytes = 3

function letter(text: string): number {
  return text.charCodeAt(0)
}

function comparePrefix(bytes: Uint8Array, prefix: Buffer): 'yes' | 'no' | 'maybe' {
  const known = Math.min(bytes.length, prefix.length)
  if (prefix.compare(bytes, 0, known, 0, known) !== 0) return 'no'
  return bytes.length < prefix.length ? 'maybe' : 'yes'
}
