import type { ServerResponse } from 'node:http'
import { encodeFlvHeader, encodeFlvTag } from '../../../protocols/flv/index.ts'
import type { LiveStream } from './live-stream.ts'

/**
 * Plays a stream as the body of an HTTP response: chunked for HTTP/1.1, until the connection closes for 1.0. Ends with
 * the stream; a viewer who leaves, or takes nothing for `idleTimeoutMs`, leaves the stream.
 */
export function playFlv(response: ServerResponse, stream: LiveStream, idleTimeoutMs: number): void {
  response.writeHead(200, { 'content-type': 'video/x-flv', 'cache-control': 'no-store' })
  response.socket?.setNoDelay(true)
  response.setTimeout(idleTimeoutMs, () => response.destroy())
  response.write(encodeFlvHeader(stream.content))
  const leave = stream.join({
    get queuedBytes() {
      return response.writableLength
    },
    send: (tag) => response.write(encodeFlvTag(tag)),
    end: (reason) => (reason === 'unpublished' ? response.end() : response.destroy()),
  })
  response.on('close', leave)
  // A write that comes between the end of the connection and 'close' fails, and that is all.
  response.on('error', leave)
}
