import { readFile, stat } from 'node:fs/promises'
import * as z from 'zod'
import { errorCode } from '../../../foundation/errors.ts'
import { writePrivateFile } from '../../../mechanisms/files/index.ts'

/** A longer file is not read, nor written. */
const MAX_BYTES = 64 * 1024 * 1024

/** What is kept over restarts. */
export interface SavedStatistics {
  readonly version: 1
  readonly savedAtMs: number
  /** The day that the counts of bytes begin with; each next one is of the day before. */
  readonly day: number
  readonly totals: SavedTraffic
  readonly proxies: readonly SavedProxy[]
  readonly clients: readonly SavedClient[]
}

export interface SavedTraffic {
  readonly in: readonly number[]
  readonly out: readonly number[]
}

export interface SavedProxy extends SavedTraffic {
  readonly name: string
  readonly type: string
  readonly user: string
  readonly clientId: string
  readonly startedAtMs: number
  /** Absent: it was online. */
  readonly closedAtMs?: number | undefined
}

export interface SavedClient {
  readonly key: string
  readonly user: string
  readonly clientId: string
  readonly version: string
  readonly wireProtocol: string
  readonly hostname: string
  readonly address: string
  readonly firstConnectedAtMs: number
  readonly lastConnectedAtMs: number
  /** Absent: it was online. */
  readonly disconnectedAtMs?: number | undefined
}

const count = z.number().int().nonnegative()
const traffic = { in: z.array(count).max(7), out: z.array(count).max(7) }
const schema: z.ZodType<SavedStatistics> = z.object({
  version: z.literal(1),
  savedAtMs: count,
  day: count,
  totals: z.object(traffic),
  proxies: z.array(
    z.object({
      ...traffic,
      name: z.string(),
      type: z.string(),
      user: z.string(),
      clientId: z.string(),
      startedAtMs: count,
      closedAtMs: count.optional(),
    }),
  ),
  clients: z.array(
    z.object({
      key: z.string(),
      user: z.string(),
      clientId: z.string().min(1),
      version: z.string(),
      wireProtocol: z.string(),
      hostname: z.string(),
      address: z.string(),
      firstConnectedAtMs: count,
      lastConnectedAtMs: count,
      disconnectedAtMs: count.optional(),
    }),
  ),
})

/** What the file holds; undefined: there is none yet. @throws when it cannot be read, or is not one of ours */
export async function readStatistics(path: string): Promise<SavedStatistics | undefined> {
  try {
    const { size } = await stat(path)
    if (size > MAX_BYTES) throw tooLong(size)
    return schema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** @throws when the file cannot be written, or would be too long */
export async function writeStatistics(path: string, statistics: SavedStatistics): Promise<void> {
  const text = JSON.stringify(statistics)
  if (Buffer.byteLength(text) > MAX_BYTES) throw tooLong(Buffer.byteLength(text))
  await writePrivateFile(path, text)
}

function tooLong(bytes: number): Error {
  return new Error(`${bytes} bytes are more than ${MAX_BYTES}`)
}
