import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import {
  decodeHandshake,
  encodeHandshake,
  HandshakeType,
  inductionAnswer,
} from '../../src/protocols/srt/index.ts'

/** An SRT listener that takes everybody at any time, keeps them alive, and neither sends nor wants media. */
export interface SrtListener extends AsyncDisposable {
  readonly port: number
}

/** libsrt gives up a peer that has said nothing for 5 s. */
const KEEPALIVE_MS = 500
const COOKIE = 0x0ba5_eba1
/** draft-sharabayko-srt-01 §3.2.3 */
const KEEPALIVE_WORD = 0x8001_0000

export async function startSrtListener(): Promise<SrtListener> {
  const udp = createSocket('udp4')
  /** By the caller's port and socket. */
  const callers = new Map<string, { readonly port: number; readonly theirs: number; readonly ours: number }>()
  udp.on('message', (bytes, { port }) => {
    const handshake = decodeHandshake(bytes)
    if (typeof handshake === 'string') return
    if (handshake.type === HandshakeType.induction) {
      const options = { cookie: COOKIE, address: '127.0.0.1', timestampUs: 0 }
      udp.send(encodeHandshake(inductionAnswer(handshake, options)), port, '127.0.0.1')
      return
    }
    const theirs = handshake.socketId
    const key = `${port} ${theirs}`
    const caller = callers.get(key) ?? { port, theirs, ours: 0x1000 + callers.size }
    callers.set(key, caller)
    const answer = { ...handshake, destination: theirs, socketId: caller.ours }
    udp.send(encodeHandshake(answer), port, '127.0.0.1')
  })
  udp.bind(0, '127.0.0.1')
  await once(udp, 'listening')
  const timer = setInterval(() => {
    for (const { port, theirs } of callers.values()) {
      const packet = Buffer.alloc(20)
      packet.writeUInt32BE(KEEPALIVE_WORD, 0)
      packet.writeUInt32BE(theirs, 12)
      udp.send(packet, port, '127.0.0.1')
    }
  }, KEEPALIVE_MS)
  return {
    port: udp.address().port,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer)
      const closed = once(udp, 'close')
      udp.close()
      await closed
    },
  }
}
