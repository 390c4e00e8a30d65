import { MessageType } from '../rtmp/index.ts'
import type { RtmpMessage } from '../rtmp/index.ts'
import { withoutSetDataFrame } from './media-class.ts'
import { FlvTagType } from './tag.ts'
import type { FlvTag } from './tag.ts'

/**
 * The FLV tag that holds what an RTMP message holds: audio, video and data have one, in AMF0; other messages
 * have none. The payload is a view of the message's.
 */
export function flvTagOf(message: RtmpMessage): FlvTag | undefined {
  const { timestamp, payload } = message
  switch (message.type) {
    case MessageType.audio:
    case MessageType.video:
      return { type: message.type, timestamp, payload }
    case MessageType.data:
      return { type: FlvTagType.script, timestamp, payload: withoutSetDataFrame(payload) }
    case MessageType.dataAmf3:
      // RTMP puts a byte 0 in front of AMF0 in an AMF3 message.
      if (payload[0] !== 0) return undefined
      return { type: FlvTagType.script, timestamp, payload: withoutSetDataFrame(payload.subarray(1)) }
    default:
      return undefined
  }
}

/** The RTMP message that holds what an FLV tag holds, on a chunk stream of its kind; undefined for other tags. */
export function messageOf(tag: FlvTag, streamId: number): RtmpMessage | undefined {
  const chunkStreamId = chunkStreams.get(tag.type)
  if (chunkStreamId === undefined) return undefined
  return { chunkStreamId, type: tag.type, streamId, timestamp: tag.timestamp, payload: tag.payload }
}

const chunkStreams: ReadonlyMap<number, number> = new Map([
  [FlvTagType.script, 5],
  [FlvTagType.audio, 6],
  [FlvTagType.video, 7],
])
