import type { IncomingMessage } from 'node:http'
import { apiError } from './errors.ts'

/**
 * The whole body of a request. @throws API_BODY_TOO_LARGE before more than `maxBytes` are held, API_BODY_INCOMPLETE when
 * the client breaks off
 */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const tooLarge = (): void =>
      reject(apiError('API_BODY_TOO_LARGE', `a body has at most ${maxBytes} bytes`, { status: 413 }))
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
    request.once('close', () =>
      reject(apiError('API_BODY_INCOMPLETE', 'the body broke off', { status: 400 })),
    )
  })
}
