import { errorMessage } from '../../../foundation/errors.ts'
import {
  aeadCodec,
  aeadNonceBytes,
  type ByteCodec,
  cfbCodec,
  cfbKey,
  chooseServerHello,
  encodeServerHello,
  helloFrame,
  parseClientHello,
  refusalHello,
  transcriptHash,
  type UdpPacketCodec,
} from '../../../protocols/frp/index.ts'
import { TunnelError } from '../errors.ts'
import type { FirstMessage } from './first-message.ts'

/** What a login of either wire version agrees on. */
export interface Agreement {
  /** Keys the control channel, once the login has been answered. */
  readonly codecOf: (token: string) => ByteCodec
  readonly udpPacketCodec: UdpPacketCodec
}

/**
 * Answers the hello of wire version 2, and readies what the control channel is to be secured with (reference §4, §5).
 * @throws TunnelError TUNNEL_PROTOCOL; the client has been told
 */
export function agree(
  { channel, clientHello }: FirstMessage,
  random: (length: number) => Uint8Array,
): Agreement {
  if (channel.version === 'v1') {
    return { codecOf: (token) => cfbCodec(cfbKey(token), random(16)), udpPacketCodec: 'json' }
  }
  if (clientHello === undefined) {
    throw new TunnelError('TUNNEL_PROTOCOL', 'missing v2 crypto negotiation', { side: 'client' })
  }
  try {
    const { algorithm, hello } = chooseServerHello(parseClientHello(clientHello), random(32))
    const serverHello = encodeServerHello(hello)
    channel.sendRaw(helloFrame('server', serverHello))
    const transcript = transcriptHash(clientHello, serverHello)
    return {
      codecOf: (token) =>
        aeadCodec({ algorithm, token, transcript, role: 'server', nonce: random(aeadNonceBytes(algorithm)) }),
      udpPacketCodec: hello.udpPacketCodec === 'binary-v1' ? 'binary-v1' : 'json',
    }
  } catch (error) {
    const message = errorMessage(error)
    channel.sendRaw(helloFrame('server', encodeServerHello(refusalHello(message))))
    throw new TunnelError('TUNNEL_PROTOCOL', message, { side: 'client', cause: error })
  }
}
