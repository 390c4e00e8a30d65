import { z } from 'zod'
import type { HlsSession } from '../contract.ts'
import { parseStreamKey, type StreamKey } from '../stream-key.ts'
import { readJson } from './json-text.ts'

const MAX_VALUE_LENGTH = 16 * 1024
const MAX_URL_LENGTH = 8192

/** The value of `srs-proxy-hls:` and `srs-proxy-spbhid:`, with the fields of the SRS proxy in its order. */
export function hlsValue({ id, streamKey, fullUrl }: HlsSession): string {
  return JSON.stringify({ spbhid: id, stream_url: streamKey, full_url: fullUrl })
}

/** Reads what Sluice or a Go proxy wrote; undefined for what is no session. */
export function readHlsValue(text: string): HlsSession | undefined {
  const value = readJson(text, MAX_VALUE_LENGTH, hlsSchema)
  return value && { id: value.spbhid, streamKey: value.stream_url, fullUrl: value.full_url }
}

/** Whether a text can be the id of a session; it need not be one. */
export function isHlsId(text: string): boolean {
  return ID.test(text)
}

const ID = /^[0-9a-f]{7}$/

const hlsSchema = z.object({
  spbhid: z.string().regex(ID),
  stream_url: z.string().transform(streamKeyOrNever),
  full_url: z
    .string()
    .max(MAX_URL_LENGTH)
    .regex(/^https?:\/\/\P{Cc}+$/u),
})

/** For schemas: the stream key that a text is. */
export function streamKeyOrNever(text: string, context: z.RefinementCtx): StreamKey {
  try {
    return parseStreamKey(text)
  } catch {
    context.addIssue('no stream key')
    return z.NEVER
  }
}
