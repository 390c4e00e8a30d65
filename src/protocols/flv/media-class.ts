import { ByteReader } from '../../foundation/bytes.ts'
import { FlvTagType } from './tag.ts'

/**
 * What a tag or RTMP message is to somebody who joins late, and must be given what decoders need:
 * `config` and `metadata` once, then everything from a `keyframe` on.
 */
export type MediaKind =
  /** Set-up of a decoder: sequence header, HDR metadata, channel layout. */
  | 'config'
  /** `onMetaData`. */
  | 'metadata'
  /** Video that decodes without what came before. */
  | 'keyframe'
  | 'interframe'
  | 'audio'
  /** Ends of sequences, seek commands, other script data. */
  | 'other'

export interface MediaClass {
  readonly kind: MediaKind
  /** For `config` and `metadata`: a later one of the same slot takes the place of the earlier. Else empty. */
  readonly slot: string
}

/**
 * Classifies a tag by its first bytes: FLV 10.1 annex E.4, and Enhanced RTMP v2 for payloads with an extended
 * header (any FourCC, ModEx, multitrack). A payload too short for what it begins with is `other`.
 */
export function classifyMedia(type: number, payload: Uint8Array): MediaClass {
  const reader = new ByteReader(payload)
  if (type === FlvTagType.video) return orOther(reader, classifyVideo(reader))
  if (type === FlvTagType.audio) return orOther(reader, classifyAudio(reader))
  if (type === FlvTagType.script) return isMetadata(payload) ? metadata : other
  return other
}

/**
 * Script data without the `@setDataFrame` that publishers put in front, as players and FLV files want it.
 * A view of the same memory.
 */
export function withoutSetDataFrame(payload: Uint8Array): Uint8Array {
  return startsWith(payload, setDataFrame) ? payload.subarray(setDataFrame.length) : payload
}

const other: MediaClass = { kind: 'other', slot: '' }
const audio: MediaClass = { kind: 'audio', slot: '' }
const keyframe: MediaClass = { kind: 'keyframe', slot: '' }
const interframe: MediaClass = { kind: 'interframe', slot: '' }
const metadata: MediaClass = { kind: 'metadata', slot: 'metadata' }

const FrameType = { key: 1, generatedKey: 4, command: 5 } as const
/** Packet types of extended headers; those of audio and video agree, but for 4. */
const PacketType = {
  sequenceStart: 0,
  sequenceEnd: 2,
  metadata: 4,
  mpeg2TsStart: 5,
  multitrack: 6,
  modEx: 7,
} as const
const AudioPacketType = { multichannelConfig: 4, multitrack: 5 } as const
const MultitrackType = { oneTrack: 0, manyTracks: 1, manyTracksManyCodecs: 2 } as const

const avcCodec = 7
/** HEVC as some encoders sent it before Enhanced RTMP gave it a FourCC. */
const legacyHevcCodec = 12
const aacFormat = 10
const extendedAudio = 9

function classifyVideo(reader: ByteReader): MediaClass {
  const first = reader.u8()
  if ((first & 0x80) !== 0) return classifyExtendedVideo(reader, (first >> 4) & 7, first & 15)
  const frameType = first >> 4
  const codec = first & 15
  if (frameType === FrameType.command) return other
  if (codec === avcCodec || codec === legacyHevcCodec) {
    const packetType = reader.u8()
    if (packetType === PacketType.sequenceStart) return config('video')
    if (packetType !== 1) return other
  }
  return frame(frameType)
}

function classifyExtendedVideo(reader: ByteReader, frameType: number, firstPacketType: number): MediaClass {
  let packetType = skipModEx(reader, firstPacketType)
  if (packetType !== PacketType.metadata && frameType === FrameType.command) return other
  let track = ''
  if (packetType === PacketType.multitrack) ({ packetType, track } = readTrack(reader))
  else reader.skip(4)
  if (packetType === PacketType.sequenceStart || packetType === PacketType.mpeg2TsStart)
    return config(`video${track}`)
  if (packetType === PacketType.metadata) return config(`video-metadata${track}`)
  return packetType === PacketType.sequenceEnd ? other : frame(frameType)
}

function classifyAudio(reader: ByteReader): MediaClass {
  const first = reader.u8()
  const format = first >> 4
  if (format === extendedAudio) return classifyExtendedAudio(reader, first & 15)
  if (format === aacFormat && reader.u8() === PacketType.sequenceStart) return config('audio')
  return audio
}

function classifyExtendedAudio(reader: ByteReader, firstPacketType: number): MediaClass {
  let packetType = skipModEx(reader, firstPacketType)
  let track = ''
  if (packetType === AudioPacketType.multitrack) ({ packetType, track } = readTrack(reader))
  else reader.skip(4)
  if (packetType === PacketType.sequenceStart) return config(`audio${track}`)
  if (packetType === AudioPacketType.multichannelConfig) return config(`audio-channels${track}`)
  return packetType === PacketType.sequenceEnd ? other : audio
}

/** ModEx: size minus 1 in a byte, or for 256 in two more; data; then its own type and the packet type. */
function skipModEx(reader: ByteReader, firstPacketType: number): number {
  let packetType = firstPacketType
  while (packetType === PacketType.modEx && !reader.failed) {
    const size = reader.u8() + 1
    reader.skip(size === 256 ? reader.u16() + 1 : size)
    packetType = reader.u8() & 15
  }
  return packetType
}

/** Configurations of several tracks in one message share a slot. */
function readTrack(reader: ByteReader): { readonly packetType: number; readonly track: string } {
  const types = reader.u8()
  const multitrackType = types >> 4
  if (multitrackType !== MultitrackType.manyTracksManyCodecs) reader.skip(4)
  const trackId = reader.u8()
  const track = multitrackType === MultitrackType.oneTrack ? `:${trackId}` : ':many'
  return { packetType: types & 15, track }
}

function frame(frameType: number): MediaClass {
  return frameType === FrameType.key || frameType === FrameType.generatedKey ? keyframe : interframe
}

function config(slot: string): MediaClass {
  return { kind: 'config', slot }
}

function orOther(reader: ByteReader, found: MediaClass): MediaClass {
  return reader.failed ? other : found
}

const setDataFrame = amf0String('@setDataFrame')
const onMetaData = amf0String('onMetaData')

function isMetadata(payload: Uint8Array): boolean {
  return startsWith(withoutSetDataFrame(payload), onMetaData)
}

function amf0String(text: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(2, 0, text.length), Buffer.from(text)])
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return start.every((byte, index) => bytes[index] === byte)
}
