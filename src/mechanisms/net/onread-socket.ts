import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { readIntoBuffers } from './socket-inside.ts'

/** A socket ready to be read by `onBytes`. */
export interface OnreadSocket {
  /** The one handed in. Reading is paused. */
  readonly socket: Socket
  /** What had been read before; `onBytes` does not get it again. */
  readonly leftover: Uint8Array
  /** Whether the read buffer is reused; otherwise (TLS, a Node with another inside) it is an ordinary stream. */
  readonly isReused: boolean
}

/**
 * Makes `onBytes` the reader of a plain socket that was in ordinary stream mode. The bytes given to it are valid until it
 * returns or, when it pauses the socket, until reading is resumed: one read buffer, reused, instead of a new one per read
 * doubles what a relay of media moves per CPU-second. `pause`, `resume`, `end`, `destroy` and all events work on the socket
 * as before. The caller has removed its `data` and `readable` listeners.
 */
export function readByOnread(
  socket: Socket,
  bufferBytes: number,
  onBytes: (bytes: Uint8Array) => void,
): OnreadSocket {
  socket.pause()
  const leftover: unknown = socket.read()
  socket.allowHalfOpen = true
  // TLS goes on giving what it has decrypted after a pause, and would write over what is still being sent.
  const isReused = !(socket instanceof TLSSocket) && readReused(socket, bufferBytes, onBytes)
  if (isReused) socket.setTimeout(0)
  else socket.on('data', onBytes)
  return { socket, leftover: leftover instanceof Uint8Array ? leftover : empty, isReused }
}

const empty = new Uint8Array(0)

function readReused(socket: Socket, bufferBytes: number, onBytes: (bytes: Uint8Array) => void): boolean {
  if (socket.connecting) return false
  const buffer = Buffer.allocUnsafeSlow(bufferBytes)
  return readIntoBuffers(socket, buffer, (length) => {
    onBytes(buffer.subarray(0, length))
    return undefined
  })
}
