import type { IncomingMessage } from 'node:http'
import { WebError } from './web-error.ts'

/** The whole body of a request. @throws WebError 413 before more than `maxBytes` are held, 400 when the client breaks off */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const tooLarge = (): void => reject(new WebError(413, `a body has at most ${maxBytes} bytes`))
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) return tooLarge()
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > maxBytes) {
        chunks.length = 0
        request.pause()
        return tooLarge()
      }
      chunks.push(chunk)
    })
    request.once('end', () => resolve(Buffer.concat(chunks)))
    // After 'end' this changes nothing.
    request.once('close', () => reject(new WebError(400, 'the body broke off')))
  })
}
