import { ipToBytes, ipToText } from '../../foundation/ip-text.ts'
import { malformed, needMore, type ProxyEndpoint, type ProxyHeaderResult } from './header.ts'

/** What every header of version 1 begins with. */
export const signatureV1: Uint8Array = Buffer.from('PROXY ')

/** The longest line of version 1, with its CRLF. */
const MAX_LINE_BYTES = 107

const addressBytesOf: ReadonlyMap<string, number> = new Map([
  ['TCP4', 4],
  ['TCP6', 16],
])

/** Reads bytes that begin with `signatureV1`. */
export function decodeV1(bytes: Uint8Array): ProxyHeaderResult {
  const text = Buffer.from(bytes.subarray(0, MAX_LINE_BYTES)).toString('latin1')
  const end = text.indexOf('\r\n')
  if (end === -1) {
    return bytes.length < MAX_LINE_BYTES ? needMore : malformed(`no line end in ${MAX_LINE_BYTES} bytes`)
  }
  const length = end + 2
  const [, family = '', sourceAddress, destinationAddress, sourcePort, destinationPort, ...rest] = text
    .slice(0, end)
    .split(' ')
  // What follows UNKNOWN means nothing.
  if (family === 'UNKNOWN') {
    return { kind: 'header', header: { version: 1, command: 'proxy' }, bytes: length }
  }
  const addressBytes = addressBytesOf.get(family)
  if (addressBytes === undefined) return malformed('the family is neither TCP4, TCP6 nor UNKNOWN')
  const source = endpoint(sourceAddress, sourcePort, addressBytes)
  const destination = endpoint(destinationAddress, destinationPort, addressBytes)
  if (source === undefined || destination === undefined || rest.length > 0) {
    return malformed(`after ${family} there must be two of its addresses and two ports`)
  }
  return {
    kind: 'header',
    header: { version: 1, command: 'proxy', addresses: { source, destination } },
    bytes: length,
  }
}

function endpoint(address = '', port = '', addressBytes = 0): ProxyEndpoint | undefined {
  const ip = ipToBytes(address)
  if (ip?.length !== addressBytes || !/^(?:0|[1-9]\d{0,4})$/.test(port) || Number(port) > 65_535)
    return undefined
  return { address: ipToText(ip), port: Number(port) }
}
