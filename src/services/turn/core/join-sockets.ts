import type { Socket } from 'node:net'
import { Transform, type TransformCallback } from 'node:stream'
import type { Clock } from '../../../foundation/clock.ts'
import { SocketPipe } from '../../../mechanisms/net/index.ts'

/** How a client's connection is joined with a peer's. */
export interface JoinOptions {
  readonly clock: Clock
  /** Whether so many bytes may pass now. @defaultValue everything may */
  readonly charge?: (bytes: number) => boolean
}

/** Two sockets that are joined. */
export interface JoinedSockets {
  readonly bytesToPeer: number
  readonly bytesFromPeer: number
}

/** Joins two connections, with backpressure. With limits what is over them waits; of a stream nothing can be dropped. */
export function joinSockets(client: Socket, peer: Socket, { clock, charge }: JoinOptions): JoinedSockets {
  if (charge === undefined) {
    const pipe = new SocketPipe(client, peer, { bufferBytes: 65_536, idleTimeoutMs, clock })
    return {
      get bytesToPeer() {
        return pipe.bytesFromFirst
      },
      get bytesFromPeer() {
        return pipe.bytesFromSecond
      },
    }
  }
  const toPeer = new Throttle(clock, charge)
  const fromPeer = new Throttle(clock, charge)
  client.pipe(toPeer).pipe(peer)
  peer.pipe(fromPeer).pipe(client)
  // What breaks off breaks the other off; what has said its end has all that it said passed on first.
  client.once('close', (isBroken) => {
    if (isBroken || !toPeer.writableEnded) peer.destroy()
  })
  peer.once('close', (isBroken) => {
    if (isBroken || !fromPeer.writableEnded) client.destroy()
  })
  return {
    get bytesToPeer() {
      return toPeer.bytes
    },
    get bytesFromPeer() {
      return fromPeer.bytes
    },
  }
}

/** The allocation bounds how long a connection may stand idle. */
const idleTimeoutMs = 24 * 3600 * 1000

/** Lets bytes pass as the limits allow. */
class Throttle extends Transform {
  bytes = 0
  readonly #clock: Clock
  readonly #charge: (bytes: number) => boolean

  constructor(clock: Clock, charge: (bytes: number) => boolean) {
    super({ highWaterMark: 65_536 })
    this.#clock = clock
    this.#charge = charge
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#pass(chunk, done)
  }

  #pass(chunk: Buffer, done: TransformCallback): void {
    let at = 0
    // In pieces, so that one is never more than a bucket holds.
    for (; at < chunk.length; at += pieceBytes) {
      const piece = chunk.subarray(at, at + pieceBytes)
      if (!this.#charge(piece.length)) break
      this.bytes += piece.length
      this.push(piece)
    }
    if (at >= chunk.length) return done()
    this.#clock.after(retryMs, () => {
      if (this.destroyed) return
      this.#pass(chunk.subarray(at), done)
    })
  }
}

const pieceBytes = 4096
const retryMs = 20
