import {
  encodeFlvHeader,
  encodeFlvTag,
  FlvReader,
  type FlvTag,
  FlvTagType,
} from '../../../../protocols/flv/index.ts'
import { ChunkedBody } from '../../../../protocols/http/index.ts'

export const LIVE = 'HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nServer: SRS\r\n'
export const CHUNKED: string = `${LIVE}Transfer-Encoding: chunked\r\n\r\n`

export const FLV_HEADER: Buffer = encodeFlvHeader({ audio: true, video: true })

/** A keyframe of H.264; of its size each has another content. */
export function frame(timestamp: number, size = 30): Buffer {
  const payload = new Uint8Array(size)
  for (let at = 0; at < size; at++) payload[at] = size + 7 * at
  payload.set([0x17, 1])
  return encodeFlvTag({ type: FlvTagType.video, timestamp, payload })
}

export function chunk(...bytes: readonly Buffer[]): Buffer {
  const data = Buffer.concat(bytes)
  return Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')])
}

/** The body that is within a chunked framing, as far as it has come; throws when the framing is broken. */
export function unchunked(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  const { start, end, progress } = new ChunkedBody().decode(bytes)
  if (progress.kind === 'bad') throw new Error(progress.reason)
  return bytes.subarray(start, end)
}

export function tagsOf(body: Uint8Array): FlvTag[] {
  const reader = new FlvReader()
  reader.push(body)
  const tags: FlvTag[] = []
  for (let tag = reader.next(); tag; tag = reader.next()) tags.push(tag)
  return tags
}

export function timesOf(body: Uint8Array): number[] {
  return tagsOf(body).map(({ timestamp }) => timestamp)
}
