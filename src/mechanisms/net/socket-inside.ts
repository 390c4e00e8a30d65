import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/**
 * What Node's sockets can do and do not say, for streams of bytes: to read into one buffer again and again (which Node lets
 * one ask for only when a socket is made), to stop the descriptor itself, to be closed with a reset. Where a Node has another
 * inside, each of these says no, and the socket stays an ordinary stream.
 */

/**
 * Takes what was read into the first `length` bytes of `buffer`; gives the buffer for the next read, or nothing for the same.
 */
export type BufferReader = (length: number, buffer: Uint8Array) => Uint8Array | undefined

/**
 * Makes `reader` the reader of a connected socket, from now on and for good; the first read goes into `buffer`. Reading stands
 * still until `startReading`. Says whether the socket can be read so; otherwise nothing has changed.
 */
export function readIntoBuffers(socket: Socket, buffer: Uint8Array, reader: BufferReader): boolean {
  const handle = handleOf(socket)
  symbols ??= findSymbols(socket)
  if (handle === undefined || symbols === undefined) return false
  stopReading(socket)
  Object.assign(socket, {
    [symbols.buffer]: buffer,
    [symbols.take]: (length: number, from: Uint8Array) => {
      nextBuffer = reader(length, from)
      return true
    },
    [symbols.next]: giveNextBuffer,
  })
  handle.useUserBuffer(buffer)
  return true
}

/** Lets the system read for a socket that is read into buffers. */
export function startReading(socket: Socket): void {
  const handle = handleOf(socket)
  if (handle === undefined || handle.reading) return
  handle.reading = true
  const status = handle.readStart()
  if (status !== 0) socket.destroy(new Error(`the socket cannot be read: error ${status}`))
}

/** The opposite of `startReading`. A TLS socket may still give what it had decrypted. */
export function stopReading(socket: Socket): void {
  const handle = handleOf(socket)
  if (handle?.reading !== true) return
  handle.reading = false
  handle.readStop()
}

/** Destroys a socket so that its peer sees a reset, also beneath TLS; where that cannot be, without. */
export function resetSocket(socket: Socket): void {
  const handle = tcpHandleOf(socket)
  if (handle !== undefined) {
    // Whoever closes it in the end, among the layers above.
    handle.close = (callback) => {
      if (handle.reset(callback) === 0) return
      // One that is just ending its side cannot be reset.
      Reflect.deleteProperty(handle, 'close')
      handle.close(callback)
    }
  }
  socket.destroy()
}

/**
 * Whether a socket that has just said `end`, and has not ended its own side, was in truth reset: when data waited before the
 * reset, libuv takes the two together for an end in order.
 */
export function wasReset(socket: Socket): boolean {
  const handle = tcpHandleOf(socket)
  // The system knows no peer of a connection that is gone, but that of one whose peer has only ended its side.
  return handle !== undefined && handle.getpeername({}) !== 0
}

/** The descriptor of a plain TCP socket, which stays the socket's. */
export function descriptorOf(socket: Socket): number | undefined {
  if (socket instanceof TLSSocket || socket.destroyed) return undefined
  const fd = tcpHandleOf(socket)?.fd
  return fd !== undefined && fd >= 0 ? fd : undefined
}

/** Set by the reader of the read that just took place, asked for at once afterwards. */
let nextBuffer: Uint8Array | undefined

function giveNextBuffer(): Uint8Array | undefined {
  const buffer = nextBuffer
  nextBuffer = undefined
  return buffer
}

interface Symbols {
  readonly buffer: symbol
  readonly take: symbol
  readonly next: symbol
}

let symbols: Symbols | undefined

/** Under which names a socket keeps what its option `onread` has said; every socket has them. */
function findSymbols(socket: Socket): Symbols | undefined {
  const own = Object.getOwnPropertySymbols(socket)
  const named = (name: string): symbol | undefined => own.find((symbol) => symbol.description === name)
  const [buffer, take, next] = [named('kBuffer'), named('kBufferCb'), named('kBufferGen')]
  if (buffer === undefined || take === undefined || next === undefined) return undefined
  return { buffer, take, next }
}

interface Handle {
  reading: boolean
  readStart(): number
  readStop(): number
  useUserBuffer(buffer: Uint8Array): void
}

interface TcpHandle {
  readonly fd: number
  close(callback?: () => void): void
  reset(callback?: () => void): number
  getpeername(address: object): number
}

function handleOf(socket: Socket): Handle | undefined {
  const handle: unknown = '_handle' in socket ? socket._handle : undefined
  return isHandle(handle) ? handle : undefined
}

/** The handle at the bottom: a TLS socket has one of its own, above that of TCP. */
function tcpHandleOf(socket: Socket): TcpHandle | undefined {
  let handle: unknown = '_handle' in socket ? socket._handle : undefined
  if (typeof handle === 'object' && handle !== null && '_parent' in handle) handle = handle._parent
  return isTcpHandle(handle) ? handle : undefined
}

function isHandle(handle: unknown): handle is Handle {
  return has(handle, 'readStart', 'readStop', 'useUserBuffer')
}

function isTcpHandle(handle: unknown): handle is TcpHandle {
  return has(handle, 'close', 'reset', 'getpeername')
}

function has(handle: unknown, ...methods: readonly string[]): boolean {
  if (typeof handle !== 'object' || handle === null) return false
  return methods.every((name) => typeof Reflect.get(handle, name) === 'function')
}
