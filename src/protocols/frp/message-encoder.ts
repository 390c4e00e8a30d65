import { frameMessage, headBytes } from './framing.ts'
import { writeStruct } from './go-json.ts'
import { messageType } from './message-structs.ts'
import type { MessageBodies, MessageName, UdpPacket, WireVersion } from './messages.ts'
import { encodeUdpPacket } from './udp-packet.ts'

/**
 * A message as bytes, exactly as frp writes it. Fields that are not given are zero.
 *
 * @throws FrpError FRP_UNWRITABLE when it is above the limit of the wire version, or a number is no integer
 */
export function encodeMessage<Name extends MessageName>(
  version: WireVersion,
  name: Name,
  body: Partial<MessageBodies[Name]>,
): Buffer {
  if (name === 'UDPPacket') return encodeUdpPacket(version, udpPacket(body))
  const type = messageType(name)
  const json = writeStruct(body, type.struct)
  const frame = frameMessage(version, type, Buffer.byteLength(json))
  frame.write(json, headBytes(version), 'utf8')
  return frame
}

function udpPacket(body: Partial<UdpPacket>): UdpPacket {
  return { content: body.content ?? new Uint8Array(), remote: body.remote }
}
