import { ByteWriter } from '../../foundation/bytes.ts'

/** The tag types of FLV; RTMP uses the same numbers for its messages. */
export const FlvTagType = { audio: 8, video: 9, script: 18 } as const

/** One tag of an FLV stream. */
export interface FlvTag {
  /** One of `FlvTagType`, or what else a file holds. */
  readonly type: number
  /** Milliseconds, u32; wraps after 49.7 days. */
  readonly timestamp: number
  readonly payload: Uint8Array
}

/** Bytes that each tag has besides its payload: 11 in front, 4 behind. */
const tagOverheadBytes = 15

/** The start of an FLV stream: the header and the size 0 of the tag before the first. */
export function encodeFlvHeader(content: { readonly audio: boolean; readonly video: boolean }): Buffer {
  const flags = (content.audio ? 0x04 : 0) | (content.video ? 0x01 : 0)
  return new ByteWriter(13).utf8('FLV').u8(1).u8(flags).u32(9).u32(0).finish()
}

/** A tag with its size behind it. */
export function encodeFlvTag(tag: FlvTag): Buffer {
  return new ByteWriter(tag.payload.length + tagOverheadBytes)
    .u8(tag.type)
    .u24(tag.payload.length)
    .u24(tag.timestamp & 0xffffff)
    .u8(tag.timestamp >>> 24)
    .u24(0)
    .bytes(tag.payload)
    .u32(11 + tag.payload.length)
    .finish()
}
