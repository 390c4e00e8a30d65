/**
 * RTMP 1.0 with Enhanced RTMP passed through: handshake, chunks, AMF0, and the dialogues that lead a
 * connection from its first byte to a stream. `ServerDialogue` faces publishers and players, `ClientDialogue`
 * an origin; once both have come to their point, `ChunkRelay` moves the messages of either direction.
 */
export {
  amf0Object,
  type Amf0Date,
  type Amf0EcmaArray,
  type Amf0Entry,
  type Amf0LongText,
  type Amf0Object,
  type Amf0Options,
  amf0Property,
  amf0Text,
  type Amf0Value,
  decodeAmf0,
  encodeAmf0,
} from './amf0.ts'
export type { ChunkLimits } from './chunk-header.ts'
export { ChunkReader, type ChunkReaderOptions, type ChunkReaderState } from './chunk-reader.ts'
export { ChunkRelay, type ChunkRelayOptions, RELAY_CHUNK_SIZE } from './chunk-relay.ts'
export { ChunkWriter } from './chunk-writer.ts'
export {
  ClientDialogue,
  type ClientDialogueOptions,
  type ClientDialogueOutput,
  type Refusal,
} from './client-dialogue.ts'
export { ANNOUNCED_CHUNK_SIZE, type DetachedLink, type DialogueLimits, WINDOW_BYTES } from './command-link.ts'
export {
  createStreamRequest,
  requestElsewhere,
  type StreamPlace,
  type StreamRequest,
  type StreamRequestFields,
} from './command-stream-request.ts'
export {
  type Command,
  type CommandFields,
  commandMessage,
  commandName,
  decodeCommand,
  isCommand,
} from './command.ts'
export { RtmpError, RtmpErrorCode, type RtmpErrorOptions } from './errors.ts'
export type { FarSide } from './far-side.ts'
export { ClientHandshake, type HandshakeStep, type RandomBytes, ServerHandshake } from './handshake.ts'
export * from './message.ts'
export { mapEventStream } from './stream-event.ts'
export { ServerDialogue, type ServerDialogueOptions, type ServerDialogueOutput } from './server-dialogue.ts'
