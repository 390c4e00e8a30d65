import { isIP } from 'node:net'

/** The 4 or 16 bytes of an address text; `undefined` for what is no address. A zone (`%eth0`) is refused. */
export function ipToBytes(text: string): Uint8Array | undefined {
  switch (isIP(text)) {
    case 4:
      return ipv4ToBytes(text)
    case 6:
      return text.includes('%') ? undefined : ipv6ToBytes(text)
    default:
      return undefined
  }
}

/** The text of 4 or 16 address bytes; IPv6 in the short form of RFC 5952. */
export function ipToText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0))
  const [from, length] = longestZeroRun(groups)
  if (length < 2) return hexGroups(groups)
  return `${hexGroups(groups.slice(0, from))}::${hexGroups(groups.slice(from + length))}`
}

function hexGroups(groups: readonly number[]): string {
  return groups.map((group) => group.toString(16)).join(':')
}

/** By hand, since it is done for each answer of a TURN server: a ninth of what splitting the text costs. */
function ipv4ToBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(4)
  let at = 0
  let value = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === dot) {
      bytes[at++] = value
      value = 0
    } else value = value * 10 + code - zero
  }
  bytes[at] = value
  return bytes
}

const dot = 0x2e
const zero = 0x30

function ipv6ToBytes(text: string): Uint8Array {
  // isIP has vouched for the form: at most one `::`, and a dotted tail only at the end.
  const dotted = text.lastIndexOf('.') === -1 ? '' : text.slice(text.lastIndexOf(':') + 1)
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number)
  const tail = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  const plain = dotted === '' ? text : text.slice(0, -dotted.length) + tail
  const [head = '', rest] = plain.split('::')
  const front = head === '' ? [] : head.split(':')
  const back = rest === undefined || rest === '' ? [] : rest.split(':')
  const bytes = new Uint8Array(16)
  const put = (group: string, index: number): void => {
    const value = Number.parseInt(group, 16)
    bytes[2 * index] = value >>> 8
    bytes[2 * index + 1] = value & 0xff
  }
  front.forEach(put)
  back.forEach((group, i) => put(group, 8 - back.length + i))
  return bytes
}

function longestZeroRun(groups: readonly number[]): [from: number, length: number] {
  let best: [number, number] = [0, 0]
  let from = 0
  groups.forEach((group, i) => {
    if (group !== 0) from = i + 1
    else if (i + 1 - from > best[1]) best = [from, i + 1 - from]
  })
  return best
}
