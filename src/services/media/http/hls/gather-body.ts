import type { Clock } from '../../../../foundation/clock.ts'
import { httpError } from '../errors.ts'
import type { BodyReader, OriginAnswer } from './origin-connection.ts'

export interface GatherOptions {
  readonly maxBytes: number
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number
  readonly clock: Clock
  /** Aborted when nobody wants it any more. */
  readonly signal: AbortSignal
}

/**
 * The whole body of an answer. @throws HTTP_ORIGIN_BAD_RESPONSE when it is too large
 * @throws HTTP_ORIGIN_BROKE when it breaks off
 * @throws HTTP_ORIGIN_IDLE when it is not complete in time
 * @throws HTTP_CLIENT_GONE
 */
export function gatherBody(answer: OriginAnswer, options: GatherOptions): Promise<Buffer> {
  const { clock, maxBytes, signal, timeoutMs } = options
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    let isOver = false
    const over = (): boolean => {
      const wasOver = isOver
      isOver = true
      timer.cancel()
      signal.removeEventListener('abort', onAbort)
      return wasOver
    }
    const fail = (
      code: 'HTTP_ORIGIN_BAD_RESPONSE' | 'HTTP_ORIGIN_BROKE' | 'HTTP_ORIGIN_IDLE',
      what: string,
    ): void => {
      if (over()) return
      answer.destroy()
      const status = code === 'HTTP_ORIGIN_IDLE' ? 504 : 502
      reject(httpError(code, what, { side: 'origin', retryable: true, status }))
    }
    const timer = clock.after(timeoutMs, () =>
      fail('HTTP_ORIGIN_IDLE', `not complete within ${timeoutMs} ms`),
    )
    const onAbort = (): void => {
      if (over()) return
      answer.destroy()
      reject(
        httpError('HTTP_CLIENT_GONE', 'the client left', { side: 'client', retryable: false, status: 499 }),
      )
    }
    signal.addEventListener('abort', onAbort)
    const reader: BodyReader = {
      bytes(bytes) {
        length += bytes.length
        if (length > maxBytes) {
          fail('HTTP_ORIGIN_BAD_RESPONSE', `a body of more than ${maxBytes} bytes`)
          return false
        }
        chunks.push(Buffer.from(bytes))
        return true
      },
      ended(error) {
        if (error !== undefined) fail('HTTP_ORIGIN_BROKE', 'the body broke off')
        else if (!over())
          resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, length))
      },
    }
    if (signal.aborted) onAbort()
    else answer.deliver(reader)
  })
}

/** Reads a body that nobody wants, if it is small, so that its connection can be used again. */
export function dropBody(answer: OriginAnswer): void {
  const { framing } = answer
  if (framing.kind === 'until-close' || (framing.kind === 'length' && framing.bytes > SMALL_BYTES)) {
    answer.destroy()
    return
  }
  let left = SMALL_BYTES
  answer.deliver({
    bytes(bytes) {
      left -= bytes.length
      if (left < 0) answer.destroy()
      return left >= 0
    },
    ended() {},
  })
}

const SMALL_BYTES = 16_384
