import { parseServerAddress, type ServerAddress, serverAddressText } from './server-address.ts'

/** Slots of a Cluster. */
export const SLOTS = 16_384

/** The slot of a key: what is between the first `{` and the next `}`, where there is something, decides. */
export function slotOf(key: string): number {
  const start = key.indexOf('{')
  const end = start === -1 ? -1 : key.indexOf('}', start + 1)
  return crc16(Buffer.from(end > start + 1 ? key.slice(start + 1, end) : key)) % SLOTS
}

/** Which server has which slots, and all servers there are. */
export interface ClusterMap {
  /** The master of each slot as `host:port`; a slot that nobody has is undefined. */
  readonly slots: readonly (string | undefined)[]
  readonly masters: ReadonlyMap<string, ServerAddress>
  /** Masters and replicas. */
  readonly servers: ReadonlyMap<string, ServerAddress>
}

/** Reads the answer of CLUSTER SLOTS; `asked` stands for a server that does not know its own address. What is none is passed over. */
export function readClusterSlots(answer: unknown, asked: ServerAddress): ClusterMap {
  const slots = Array.from<string | undefined>({ length: SLOTS })
  const masters = new Map<string, ServerAddress>()
  const servers = new Map<string, ServerAddress>()
  for (const range of listOf(answer)) {
    const [first, last, ...nodes] = listOf(range)
    if (!isSlot(first) || !isSlot(last)) continue
    for (const [index, node] of nodes.entries()) {
      const [host, port] = listOf(node)
      const address = clusterAddress(host, port, asked)
      if (address === undefined) continue
      const text = serverAddressText(address)
      servers.set(text, address)
      if (index > 0) continue
      masters.set(text, address)
      slots.fill(text, first, last + 1)
    }
  }
  return { slots, masters, servers }
}

/** Where a server says that a slot is. */
export interface Redirection {
  readonly kind: 'MOVED' | 'ASK'
  readonly slot: number
  readonly address: ServerAddress
}

/** Reads `MOVED 3999 127.0.0.1:6381` and `ASK ...`, IPv6 without brackets as Redis writes it; undefined for anything else. */
export function readRedirection(words: string, asked: ServerAddress): Redirection | undefined {
  const match = /^(MOVED|ASK) (\d{1,5}) (\S*):(\d{1,5})$/.exec(words)
  if (match === null) return undefined
  const slot = Number(match[2])
  const address = clusterAddress(match[3], Number(match[4]), asked)
  if (!isSlot(slot) || address === undefined) return undefined
  return { kind: match[1] === 'ASK' ? 'ASK' : 'MOVED', slot, address }
}

function clusterAddress(host: unknown, port: unknown, asked: ServerAddress): ServerAddress | undefined {
  // A server that has not heard its own address yet gives none: it is where it was asked.
  if (host === null || host === '' || host === '?') host = asked.host
  if (typeof host !== 'string' || typeof port !== 'number') return undefined
  return parseServerAddress(serverAddressText({ host, port }), 0)
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : []
}

function isSlot(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < SLOTS
}

/** CRC-16 of XMODEM, as the specification of Redis Cluster has it. */
function crc16(bytes: Buffer): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff
  }
  return crc
}
