/**
 * The bare relay that RTMP play is compared with: connections joined two by two, without a look at the bytes.
 *
 * Arguments: the origin's TCP port; `pipe` (Node's streams) or `onread` (one reused buffer per connection,
 * the fastest that JavaScript does). Prints its own port.
 */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

const originPort = Number(process.argv[2])
const isOnread = process.argv[3] === 'onread'
const bufferBytes = 16 * 1024

const server = createServer({ noDelay: true }, (viewer) => {
  const origin = isOnread
    ? connectOnread(viewer)
    : connect({ port: originPort, host: '127.0.0.1', noDelay: true })
  viewer.pipe(origin)
  if (!isOnread) origin.pipe(viewer)
  viewer.on('error', () => origin.destroy())
  origin.on('error', () => viewer.destroy())
})

/** What the viewer sends is little; only the way to it reads into a buffer of its own. */
function connectOnread(viewer: Socket): Socket {
  const origin = connect({
    port: originPort,
    host: '127.0.0.1',
    noDelay: true,
    onread: {
      buffer: Buffer.allocUnsafe(bufferBytes),
      callback(length, buffer) {
        viewer.write(buffer.subarray(0, length))
        if (viewer.writableLength === 0) return true
        // The buffer is still being written; an empty write ends after it.
        viewer.write('', () => origin.resume())
        return false
      },
    },
  })
  return origin
}

server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`)
