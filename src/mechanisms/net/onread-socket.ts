import { Socket } from 'node:net'
import type { OnReadOpts, SocketConstructorOpts } from 'node:net'
import { TLSSocket } from 'node:tls'

/**
 * The only file that knows the inside of Node's sockets. `onread` (one read buffer, reused, instead of a
 * new one per read) doubles what a relay of media moves per CPU-second, but can only be asked for when a
 * socket is made; an accepted one gets it by giving its handle to a new socket.
 */

/** A socket ready to be read by `onBytes`. */
export interface OnreadSocket {
  /** To be used from now on, in place of the one handed in (which may be the same). Reading is paused. */
  readonly socket: Socket
  /** What had been read before; `onBytes` does not get it again. */
  readonly leftover: Uint8Array
  /** Whether the read buffer is reused; otherwise (TLS, bytes still being written) it is an ordinary stream. */
  readonly isReused: boolean
}

/**
 * Makes `onBytes` the reader of a plain socket that was in ordinary stream mode. The bytes given to it are valid
 * until it returns or, when it pauses the socket, until reading is resumed. `pause`, `resume`, `end`, `destroy`
 * and all events work on the socket returned. The caller has removed its `data` and `readable` listeners.
 * The socket handed in, when it is another one, closes together with the one returned.
 */
export function readByOnread(
  socket: Socket,
  bufferBytes: number,
  onBytes: (bytes: Uint8Array) => void,
): OnreadSocket {
  socket.pause()
  const leftover: unknown = socket.read()
  const left = leftover instanceof Uint8Array ? leftover : EMPTY
  const handle = canBeTakenOver(socket) ? plainHandle(socket) : undefined
  if (handle === undefined) {
    socket.allowHalfOpen = true
    socket.on('data', onBytes)
    return { socket, leftover: left, isReused: false }
  }

  socket.setTimeout(0)
  handle.readStop()
  // Without this the new socket believes that it reads already, and never starts.
  handle.reading = false
  Object.assign(socket, { _handle: null })

  const buffer = Buffer.allocUnsafeSlow(bufferBytes)
  const options: SocketConstructorOpts & { handle: Handle; onread: OnReadOpts } = {
    handle,
    allowHalfOpen: true,
    onread: {
      buffer,
      callback(length) {
        onBytes(buffer.subarray(0, length))
        return true
      },
    },
  }
  const taken = new Socket(options)
  taken.pause()
  // The server that accepted it counts the old one until it closes.
  taken.once('close', () => socket.destroy())
  socket.once('close', () => taken.destroy())
  return { socket: taken, leftover: left, isReused: true }
}

const EMPTY = new Uint8Array(0)

interface Handle {
  reading: boolean
  readStop(): void
}

/** The handle of a TCP socket whose inside is as this file knows it. */
function plainHandle(socket: Socket): Handle | undefined {
  if (socket instanceof TLSSocket || !('_handle' in socket)) return undefined
  const handle = socket._handle
  return isHandle(handle) ? handle : undefined
}

function isHandle(handle: unknown): handle is Handle {
  return (
    typeof handle === 'object' &&
    handle?.constructor.name === 'TCP' &&
    'reading' in handle &&
    'readStop' in handle &&
    typeof handle.readStop === 'function' &&
    'useUserBuffer' in handle &&
    typeof handle.useUserBuffer === 'function'
  )
}

/** Bytes that wait to be written would be lost, and so would the end of the stream. */
function canBeTakenOver(socket: Socket): boolean {
  const state = '_readableState' in socket ? socket._readableState : undefined
  const isEnded = typeof state !== 'object' || state === null || !('ended' in state) || state.ended === true
  return !isEnded && !socket.connecting && !socket.destroyed && socket.writable && socket.writableLength === 0
}
