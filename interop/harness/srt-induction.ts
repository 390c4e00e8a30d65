import { type Handshake, HandshakeType } from '../../src/protocols/srt/index.ts'

/** What an SRT caller with this socket id says first. */
export function induction(socketId: number): Handshake {
  return {
    info: 0,
    timestampUs: 0,
    destination: 0,
    version: 4,
    encryption: 0,
    extensionField: 2,
    initialSequence: 1,
    mtuBytes: 1_500,
    flowWindow: 8_192,
    type: HandshakeType.induction,
    socketId,
    cookie: 0,
    peerIp: new Uint8Array(16),
    extensions: [],
  }
}
