import type { IncomingMessage } from 'node:http'
import type { Clock } from '../../../foundation/clock.ts'
import { clientError, clientGone } from './errors.ts'

export interface BodyLimits {
  readonly maxBytes: number
  readonly timeoutMs: number
  readonly clock: Clock
}

/**
 * The whole body of a request.
 *
 * @throws WEBRTC_BODY_TOO_LARGE, WEBRTC_BODY_TIMEOUT, WEBRTC_CLIENT_GONE
 */
export function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  return new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const finish = (outcome: () => void): void => {
      timer.cancel()
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone)
      outcome()
    }
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes <= limits.maxBytes) chunks.push(chunk)
      else
        finish(() =>
          reject(clientError('WEBRTC_BODY_TOO_LARGE', 413, `a body has at most ${limits.maxBytes} bytes`)),
        )
    }
    const onEnd = (): void => finish(() => resolve(Buffer.concat(chunks)))
    const onGone = (): void => finish(() => reject(clientGone()))
    const timer = limits.clock.after(limits.timeoutMs, () =>
      finish(() => reject(clientError('WEBRTC_BODY_TIMEOUT', 408, 'the body did not come in time'))),
    )
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone)
  })
}
