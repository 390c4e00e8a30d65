import { FrpError, FrpErrorCode } from './errors.ts'
import { frameMessage, headBytes, v1MostBytes, v2IdBytes, v2MostBytes } from './framing.ts'
import { readBase64, readStruct, struct } from './go-json.ts'
import { messageType } from './message-structs.ts'
import type { UdpAddress, UdpPacket, WireVersion } from './messages.ts'
import {
  binaryAddress,
  binaryAddressBytes,
  readAddress,
  readBinaryAddress,
  writeAddress,
} from './udp-address.ts'

/** How datagrams are written: as every message, or (v2 only, and only when the hellos agree on it) in frp's binary form. */
export type UdpPacketCodec = 'json' | 'binary-v1'

/** The message id of a datagram in binary form. */
export const binaryUdpPacketId = 19

/**
 * A datagram as a message. By hand instead of through the JSON of other messages, since there is one for each datagram.
 *
 * @throws FrpError FRP_UNWRITABLE for a datagram above `mostDatagramBytes`, and an address that cannot be
 */
export function encodeUdpPacket(
  version: WireVersion,
  { content, remote }: UdpPacket,
  form: UdpPacketCodec = 'json',
): Buffer {
  if (form === 'binary-v1') return encodeBinary(content, remote)
  const address = remote === undefined ? '' : `"r":${writeAddress(remote)}`
  const head = content.length === 0 ? '{' : '{"c":"'
  const tail = content.length === 0 ? `${address}}` : `"${remote === undefined ? '' : ','}${address}}`
  const base64Bytes = Math.ceil(content.length / 3) * 4
  // Zones may hold anything, so the tail is measured as UTF-8.
  const tailBytes = Buffer.byteLength(tail)
  const frame = frameMessage(version, messageType('UDPPacket'), head.length + base64Bytes + tailBytes)
  let at = headBytes(version)
  at += frame.write(head, at, 'latin1')
  if (base64Bytes > 0) at += frame.write(asBuffer(content).toString('base64'), at, 'latin1')
  frame.write(tail, at, tailBytes, 'utf8')
  return frame
}

/** Most bytes of a datagram that fit into a message whatever its address is. */
export function mostDatagramBytes(version: WireVersion, form: UdpPacketCodec = 'json'): number {
  if (form === 'binary-v1') return v2MostBytes - v2IdBytes - 3 - mostBinaryAddressBytes
  const most = version === 'v1' ? v1MostBytes : v2MostBytes - v2IdBytes
  return Math.floor((most - mostJsonBytes) / 4) * 3
}

/** All but the base64, with an address of 39 characters and the zone of an interface. */
const mostJsonBytes = 160
const mostBinaryAddressBytes = 20 + 255

/** Reads datagrams out of messages. Users send many in a row, so the address of the last one is kept. */
export class UdpPacketReader {
  #lastKey: string | undefined
  #lastAddress: UdpAddress | undefined

  /** @throws FrpError FRP_MESSAGE_INVALID */
  json(content: Buffer): UdpPacket {
    return this.#plainJson(content) ?? readAnyJson(content)
  }

  /** @throws FrpError FRP_MESSAGE_INVALID */
  binary(body: Buffer): UdpPacket {
    const flags = body[0] ?? 0
    if ((flags & ~(hasLocal | hasRemote)) !== 0) throw invalid('unknown flags')
    if ((flags & hasRemote) === 0) throw invalid('no remote address')
    let at = 1
    if ((flags & hasLocal) !== 0) {
      const localBytes = binaryAddressBytes(body, at)
      readBinaryAddress(body.subarray(at, at + localBytes))
      at += localBytes
    }
    const addressBytes = binaryAddressBytes(body, at)
    const contentAt = at + addressBytes + 2
    if (contentAt > body.length) throw invalid('no length')
    if (body.readUInt16BE(contentAt - 2) !== body.length - contentAt)
      throw invalid('another length than it says')
    const key = body.toString('latin1', at, at + addressBytes)
    if (key !== this.#lastKey || this.#lastAddress === undefined) {
      this.#lastAddress = readBinaryAddress(body.subarray(at, at + addressBytes))
      this.#lastKey = key
    }
    return { content: Buffer.from(body.subarray(contentAt)), remote: this.#lastAddress }
  }

  /** What Go writes, and thereby all that frp and we send; `undefined` for any other form of the same. */
  #plainJson(content: Buffer): UdpPacket | undefined {
    let contentEnd = 0
    if (content.toString('latin1', 0, 6) === '{"c":"') {
      contentEnd = content.indexOf(quoteByte, 6)
      if (contentEnd === -1) return undefined
    }
    const tail = content.toString('latin1', contentEnd)
    if (tail !== this.#lastKey) {
      const match = plainTail.exec(tail)
      if (match === null) return undefined
      const [, ip = '', port = '', zone = ''] = match
      this.#lastAddress = readAddress({ IP: ip, Port: Number(port), Zone: zone }, 'r')
      this.#lastKey = tail
    }
    if (contentEnd === 0) return { content: Buffer.alloc(0), remote: this.#lastAddress }
    const bytes = readBase64(content.toString('latin1', 6, contentEnd))
    return bytes === undefined ? undefined : { content: bytes, remote: this.#lastAddress }
  }
}

const quoteByte = 0x22

/** From the quote behind the content, or from the beginning when there is no content. */
const plainTail = /^(?:",|\{)"r":\{"IP":"([\da-fA-F.:]*)","Port":(0|[1-9]\d{0,4}),"Zone":"([\w.-]*)"\}\}$/

const packetStruct = struct({ c: 'bytes', l: 'raw', r: 'raw' })

function readAnyJson(content: Buffer): UdpPacket {
  const { c, l, r } = readStruct(content, packetStruct)
  readAddress(l, 'l')
  return { content: c instanceof Uint8Array ? c : Buffer.alloc(0), remote: readAddress(r, 'r') }
}

const hasLocal = 1
const hasRemote = 2

/** Flags, the addresses that they name, length of two bytes, content. */
function encodeBinary(content: Uint8Array, remote: UdpAddress | undefined): Buffer {
  if (remote === undefined) {
    throw new FrpError(FrpErrorCode.unwritable, 'a binary UDP packet needs a remote address', {
      side: 'self',
    })
  }
  const address = binaryAddress(remote)
  const bodyBytes = 1 + address.length + 2 + content.length
  const frame = frameMessage('v2', { v1: 0, v2: binaryUdpPacketId }, bodyBytes)
  let at = headBytes('v2')
  frame[at++] = hasRemote
  frame.set(address, at)
  at += address.length
  at = frame.writeUInt16BE(content.length, at)
  frame.set(content, at)
  return frame
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

function invalid(what: string): FrpError {
  return new FrpError(FrpErrorCode.messageInvalid, `a UDP packet with ${what}`)
}
