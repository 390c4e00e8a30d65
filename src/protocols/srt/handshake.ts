import { ByteReader, ByteWriter } from '../../foundation/bytes.ts'
import { ControlWord, HEADER_BYTES } from './packet.ts'

/** Kinds of handshake packets; what is 1000 or more, but no conclusion, is a rejection. draft-sharabayko-srt-01 §3.2.1 */
export const HandshakeType = {
  induction: 1,
  conclusion: 0xffff_ffff,
} as const

/** Bits of the extension field of a conclusion. */
export const ExtensionFlag = { hsreq: 1, kmreq: 2, config: 4 } as const

/** Types of extension blocks that the gateway looks at; the others go on as they are. */
export const ExtensionType = { streamId: 5 } as const

/** In the extension field of an answered induction: this listener speaks version 5. */
export const HSV5_MAGIC = 0x4a17

export interface HandshakeExtension {
  readonly type: number
  /** A whole number of 4-byte words. */
  readonly content: Uint8Array
}

/** A handshake packet, complete: it encodes to the bytes that it was decoded from. */
export interface Handshake {
  /** Second word of the header, of no meaning here. */
  readonly info: number
  /** Microseconds since the sender began. */
  readonly timestampUs: number
  /** The socket that it is for; 0 for a listener. */
  readonly destination: number
  readonly version: number
  /** Of a conclusion the key length in 8 bytes; 0: not said. */
  readonly encryption: number
  readonly extensionField: number
  readonly initialSequence: number
  readonly mtuBytes: number
  readonly flowWindow: number
  readonly type: number
  /** The sender's. */
  readonly socketId: number
  readonly cookie: number
  /** 16 bytes: an address with each 4-byte word reversed. */
  readonly peerIp: Uint8Array
  readonly extensions: readonly HandshakeExtension[]
}

/** Why bytes are no handshake. */
export type HandshakeFault = 'not-handshake' | 'too-short' | 'bad-extension' | 'too-many-extensions'

/** Bytes of a handshake without extensions. */
const HANDSHAKE_BYTES = HEADER_BYTES + 48
/** There are eight types, and none comes twice. */
const MAX_EXTENSIONS = 16

/** Reads a handshake; its byte fields are views of `packet`. */
export function decodeHandshake(packet: Uint8Array): Handshake | HandshakeFault {
  const reader = new ByteReader(packet)
  const word = reader.u32()
  if (packet.length < HANDSHAKE_BYTES) return reader.failed ? 'not-handshake' : shortFault(word)
  if (word !== ControlWord.handshake) return 'not-handshake'
  const fields = {
    info: reader.u32(),
    timestampUs: reader.u32(),
    destination: reader.u32(),
    version: reader.u32(),
    encryption: reader.u16(),
    extensionField: reader.u16(),
    initialSequence: reader.u32(),
    mtuBytes: reader.u32(),
    flowWindow: reader.u32(),
    type: reader.u32(),
    socketId: reader.u32(),
    cookie: reader.u32(),
    peerIp: reader.bytes(16),
  }
  const extensions: HandshakeExtension[] = []
  while (reader.remaining > 0) {
    if (extensions.length === MAX_EXTENSIONS) return 'too-many-extensions'
    const type = reader.u16()
    const content = reader.bytes(4 * reader.u16())
    if (reader.failed) return 'bad-extension'
    extensions.push({ type, content })
  }
  return { ...fields, extensions }
}

export function encodeHandshake(handshake: Handshake): Buffer {
  const writer = new ByteWriter(HANDSHAKE_BYTES + 256)
    .u32(ControlWord.handshake)
    .u32(handshake.info)
    .u32(handshake.timestampUs)
    .u32(handshake.destination)
    .u32(handshake.version)
    .u16(handshake.encryption)
    .u16(handshake.extensionField)
    .u32(handshake.initialSequence)
    .u32(handshake.mtuBytes)
    .u32(handshake.flowWindow)
    .u32(handshake.type)
    .u32(handshake.socketId)
    .u32(handshake.cookie)
    .bytes(handshake.peerIp)
  for (const { type, content } of handshake.extensions) {
    writer
      .u16(type)
      .u16(content.length / 4)
      .bytes(content)
  }
  return writer.finish()
}

function shortFault(word: number): HandshakeFault {
  return word === ControlWord.handshake ? 'too-short' : 'not-handshake'
}
