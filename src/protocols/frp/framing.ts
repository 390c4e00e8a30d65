import { FrpError, FrpErrorCode } from './errors.ts'
import type { WireVersion } from './messages.ts'

/** What a connection in wire protocol v2 begins with. */
export const V2_MAGIC: Buffer = Buffer.from('FRP\0\u0002\r\n', 'latin1')

/** A v1 message: type of one byte, length of eight, content. */
export const v1HeaderBytes = 9
/** A v2 frame: type and flags of two bytes, length of four, payload. */
export const v2HeaderBytes = 8
/** The message id ahead of the content within a v2 message frame. */
export const v2IdBytes = 2

/** Most bytes of content of a v1 message. */
export const v1MostBytes = 10_240
/** Most bytes of payload of a v2 frame. */
export const v2MostBytes = 65_536

/** Frame types of v2. */
export const FrameType = { clientHello: 1, serverHello: 2, message: 16 } as const

/** Bytes ahead of the content of a message. */
export function headBytes(version: WireVersion): number {
  return version === 'v1' ? v1HeaderBytes : v2HeaderBytes + v2IdBytes
}

/**
 * Memory for a message with its head written, `headBytes` long; the content is for the caller to write.
 *
 * @throws FrpError FRP_UNWRITABLE when the content is above the limit
 */
export function frameMessage(
  version: WireVersion,
  type: { readonly v1: number; readonly v2: number },
  contentBytes: number,
): Buffer {
  checkLength(contentBytes, version === 'v1' ? v1MostBytes : v2MostBytes - v2IdBytes)
  const frame = Buffer.allocUnsafe(headBytes(version) + contentBytes)
  if (version === 'v1') {
    frame[0] = type.v1
    frame.writeUInt32BE(0, 1)
    frame.writeUInt32BE(contentBytes, 5)
  } else {
    writeV2Header(frame, FrameType.message, v2IdBytes + contentBytes)
    frame.writeUInt16BE(type.v2, v2HeaderBytes)
  }
  return frame
}

/**
 * A hello as a v2 frame.
 *
 * @throws FrpError FRP_UNWRITABLE when it is above the limit
 */
export function helloFrame(kind: 'client' | 'server', payload: Uint8Array): Buffer {
  checkLength(payload.length, v2MostBytes)
  const frame = Buffer.allocUnsafe(v2HeaderBytes + payload.length)
  writeV2Header(frame, kind === 'client' ? FrameType.clientHello : FrameType.serverHello, payload.length)
  frame.set(payload, v2HeaderBytes)
  return frame
}

function writeV2Header(frame: Buffer, type: number, payloadBytes: number): void {
  frame.writeUInt16BE(type, 0)
  frame.writeUInt16BE(0, 2)
  frame.writeUInt32BE(payloadBytes, 4)
}

function checkLength(bytes: number, most: number): void {
  if (bytes <= most) return
  throw new FrpError(FrpErrorCode.unwritable, `a message of ${bytes} bytes is above the limit of ${most}`, {
    side: 'self',
  })
}
