/** One RTMP message, as chunks carry it. RTMP 1.0 §4 and §5.3. */
export interface RtmpMessage {
  /** Chunk stream that carries it, 2 to 65,599. */
  readonly chunkStreamId: number
  /** Message type id, one of `MessageType` or unknown. */
  readonly type: number
  /** Message stream id, a u32; 0 is the connection itself. */
  readonly streamId: number
  /** Milliseconds from an arbitrary epoch, a u32 that wraps. */
  readonly timestamp: number
  readonly payload: Uint8Array
}

/** Message type ids. RTMP 1.0 §5.4, §6.2 and §7.1. */
export const MessageType = {
  setChunkSize: 1,
  abort: 2,
  acknowledgement: 3,
  userControl: 4,
  windowAcknowledgementSize: 5,
  setPeerBandwidth: 6,
  audio: 8,
  video: 9,
  dataAmf3: 15,
  sharedObjectAmf3: 16,
  commandAmf3: 17,
  data: 18,
  sharedObject: 19,
  command: 20,
  aggregate: 22,
} as const

/** Limit types of Set Peer Bandwidth. RTMP 1.0 §5.4.5. */
export const PeerBandwidthKind = { hard: 0, soft: 1, dynamic: 2 } as const
export type PeerBandwidthKind = (typeof PeerBandwidthKind)[keyof typeof PeerBandwidthKind]

/** Event types of User Control. RTMP 1.0 §7.1.7. */
export const UserControlEvent = {
  streamBegin: 0,
  streamEof: 1,
  streamDry: 2,
  setBufferLength: 3,
  streamIsRecorded: 4,
  pingRequest: 6,
  pingResponse: 7,
} as const

/** Chunk stream of protocol control and user control messages. RTMP 1.0 §5.4. */
export const CONTROL_CHUNK_STREAM_ID = 2

/** Set Chunk Size: the longest chunk payload that its sender will write from now on, in bytes. */
export function setChunkSizeMessage(chunkSize: number): RtmpMessage {
  return control(MessageType.setChunkSize, u32(chunkSize))
}

/** Abort: its sender will not finish the message it began on `chunkStreamId`. */
export function abortMessage(chunkStreamId: number): RtmpMessage {
  return control(MessageType.abort, u32(chunkStreamId))
}

/** Acknowledgement: bytes that its sender has received so far, modulo 2^32. */
export function acknowledgementMessage(sequence: number): RtmpMessage {
  return control(MessageType.acknowledgement, u32(sequence))
}

/** Window Acknowledgement Size: its sender wants an Acknowledgement at least every so many bytes. */
export function windowAcknowledgementSizeMessage(windowBytes: number): RtmpMessage {
  return control(MessageType.windowAcknowledgementSize, u32(windowBytes))
}

/** Set Peer Bandwidth: its receiver may have so many bytes unacknowledged. */
export function setPeerBandwidthMessage(windowBytes: number, kind: PeerBandwidthKind): RtmpMessage {
  return control(MessageType.setPeerBandwidth, Buffer.concat([u32(windowBytes), Buffer.of(kind)]))
}

/** User Control with the event's own `data` after its type. */
export function userControlMessage(event: number, data: Uint8Array): RtmpMessage {
  return control(
    MessageType.userControl,
    Buffer.concat([Buffer.of((event >>> 8) & 0xff, event & 0xff), data]),
  )
}

function control(type: number, payload: Uint8Array): RtmpMessage {
  return { chunkStreamId: CONTROL_CHUNK_STREAM_ID, type, streamId: 0, timestamp: 0, payload }
}

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}
