import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { codecStream } from '../../../mechanisms/streams/index.ts'
import {
  encodeMessage,
  encodeUdpPacket,
  FrpError,
  MessageDecoder,
  type UdpPacket,
  type UdpPacketCodec,
  type WireVersion,
} from '../../../protocols/frp/index.ts'

/** How a client writes datagrams. */
export interface DatagramForm {
  readonly version: WireVersion
  readonly codec: UdpPacketCodec
}

/**
 * The stream of a sudp visitor in the form of the client that it visits. Its pings are passed over, as frp does.
 * @param theirs what the visitor speaks
 * @param ours what is read from and written to the stream that is returned
 */
export function recodeDatagrams(visitor: ByteStream, theirs: DatagramForm, ours: DatagramForm): ByteStream {
  return codecStream(visitor, {
    encode: translator(ours, theirs, true),
    decode: translator(theirs, ours, false),
  })
}

function translator(
  from: DatagramForm,
  to: DatagramForm,
  hasPings: boolean,
): (bytes: Uint8Array) => Uint8Array {
  const decoder = new MessageDecoder(from.version, { udpPacketCodec: from.codec })
  return (bytes) => {
    decoder.push(bytes)
    const translated: Buffer[] = []
    for (let message = decoder.next(); message !== undefined; message = decoder.next()) {
      if (message.name === 'UDPPacket') {
        const packet = translate(message.body, to)
        if (packet !== undefined) translated.push(packet)
      } else if (message.name === 'Ping' && hasPings) {
        translated.push(encodeMessage(to.version, 'Ping', message.body))
      }
    }
    return Buffer.concat(translated)
  }
}

/** Undefined for a datagram that the other form cannot hold; it is lost, as one that is too long for a link is. */
function translate(packet: UdpPacket, to: DatagramForm): Buffer | undefined {
  try {
    return encodeUdpPacket(to.version, packet, to.codec)
  } catch (error) {
    if (error instanceof FrpError) return undefined
    throw error
  }
}
