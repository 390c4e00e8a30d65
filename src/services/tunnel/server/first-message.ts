import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { type FrpMessage, V2_MAGIC } from '../../../protocols/frp/index.ts'
import { TunnelError } from '../errors.ts'
import { MessageChannel } from '../message-channel.ts'

/** What a connection began with; its channel is paused. */
export interface FirstMessage {
  readonly channel: MessageChannel
  readonly message: FrpMessage
  /** Ahead of a Login of wire version 2, as it was sent. */
  readonly clientHello: Buffer | undefined
}

/** A connection must have said what it is in so many milliseconds (reference §27). */
const firstMessageMs = 10_000

/**
 * Reads which wire version a connection speaks, and its first message. Every connection waits for itself alone.
 * @throws TunnelError TUNNEL_TIMEOUT, TUNNEL_PROTOCOL, TUNNEL_CLOSED; then the stream is destroyed
 */
export function readFirstMessage(stream: ByteStream, clock: Clock): Promise<FirstMessage> {
  return new Promise((resolve, reject) => {
    let clientHello: Buffer | undefined
    const fail = (error: Error): void => {
      timer.cancel()
      stream.destroy()
      reject(error)
    }
    const timer = clock.after(firstMessageMs, () =>
      fail(
        new TunnelError('TUNNEL_TIMEOUT', 'nothing was said on the connection', {
          side: 'client',
        }),
      ),
    )
    const closed = (error?: Error): void =>
      fail(error ?? new TunnelError('TUNNEL_CLOSED', 'closed before its first message', { side: 'client' }))

    readMagic(
      stream,
      (version) => {
        const channel = new MessageChannel(stream, version)
        channel.expectHello('client', (payload) => {
          clientHello = payload
        })
        channel.onClose = closed
        channel.onMessage = (message) => {
          channel.pause()
          timer.cancel()
          channel.onClose = ignore
          resolve({ channel, message, clientHello })
        }
        channel.resume()
      },
      closed,
    )
  })
}

/** Takes the magic of v2 off the stream, if it is there; the stream is then paused. */
function readMagic(
  stream: ByteStream,
  done: (version: 'v1' | 'v2') => void,
  closed: (error?: Error) => void,
): void {
  let held: Uint8Array = new Uint8Array(0)
  stream.attach({
    onBytes(bytes) {
      held = Buffer.concat([held, bytes])
      const length = Math.min(held.length, V2_MAGIC.length)
      const isMagic = V2_MAGIC.subarray(0, length).equals(held.subarray(0, length))
      if (isMagic && length < V2_MAGIC.length) return true
      stream.pause()
      const rest = isMagic ? held.subarray(V2_MAGIC.length) : held
      if (rest.length > 0) stream.unread(rest)
      // Not within the stream's own call: what comes next attaches and resumes.
      queueMicrotask(() => done(isMagic ? 'v2' : 'v1'))
      return true
    },
    onEnd: () => closed(),
    onDrain: ignore,
    onClose: closed,
  })
  stream.resume()
}

function ignore(): void {}
