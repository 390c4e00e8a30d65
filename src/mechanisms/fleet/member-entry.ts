import { z } from 'zod'
import type { FleetMember, GatewayId } from './contract.ts'

/** A member as it announces itself. */
export interface MemberEntry extends FleetMember {
  /** Random, new at every start: tells two gateways of one id apart. */
  readonly instance: string
}

/** Longest entry in bytes; others are passed over. */
export const MAX_ENTRY_BYTES = 8192
/** Last instant that a Date can show. */
const MAX_WALL_MS = 8.64e15

const MAX_ADDRESSES = 64
const MAX_TEXT = 256

const count = z.number().min(0)
const schema = z.object({
  instance: z.string().min(1).max(64),
  version: z.string().max(64),
  startedMs: z.number().min(0).max(MAX_WALL_MS),
  addresses: z.record(z.string().max(MAX_TEXT), z.array(z.string().max(MAX_TEXT)).max(MAX_ADDRESSES)),
  isDraining: z.boolean(),
  load: z.object({
    sessions: count,
    allocations: count,
    tunnelClients: count,
    cpu: count,
    memoryBytes: count,
  }),
})

/** The text that others read; of addresses that are too many for it the first ones, or none. */
export function entryText(entry: MemberEntry): string {
  const { id: _, addresses, ...said } = entry
  const first: Record<string, readonly string[]> = {}
  for (const [by, texts] of Object.entries(addresses)) first[by] = texts.slice(0, MAX_ADDRESSES)
  const text = JSON.stringify({ ...said, addresses: first })
  return Buffer.byteLength(text) <= MAX_ENTRY_BYTES ? text : JSON.stringify({ ...said, addresses: {} })
}

/** Undefined for what is no entry. */
export function parseEntry(id: GatewayId, text: string): MemberEntry | undefined {
  if (Buffer.byteLength(text) > MAX_ENTRY_BYTES) return undefined
  try {
    return checkEntry(id, JSON.parse(text))
  } catch {
    return undefined
  }
}

/** The same for a value that has been parsed. */
export function checkEntry(id: GatewayId, value: unknown): MemberEntry | undefined {
  const { data } = schema.safeParse(value)
  return data === undefined ? undefined : { id, ...data }
}
