import type { Socket } from 'node:net'

/**
 * Takes what a connection begins with out of its socket, until `decode` makes something of it (undefined: more is needed, of
 * which it bounds how much). `onDecoded` gets that and all bytes taken, and puts back what is not its own. A connection
 * that ends before is destroyed and tells nobody.
 */
export function readBeginning<T>(
  socket: Socket,
  decode: (held: Buffer) => T | undefined,
  onDecoded: (decoded: T, held: Buffer) => void,
): void {
  let held = Buffer.alloc(0)
  const onReadable = (): void => {
    const chunk: unknown = socket.read()
    if (!(chunk instanceof Uint8Array)) return
    held = Buffer.concat([held, chunk])
    const decoded = decode(held)
    if (decoded === undefined) return
    stop()
    onDecoded(decoded, held)
  }
  const onEnd = (): void => {
    stop()
    socket.destroy()
  }
  const stop = (): void => {
    socket.off('readable', onReadable)
    socket.off('end', onEnd)
  }
  socket.on('readable', onReadable)
  socket.on('end', onEnd)
}
