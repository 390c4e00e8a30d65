import { SluiceError } from '../../../foundation/errors.ts'

/** What a request is refused with: a status, and a message that the client is shown. */
export class WebError extends SluiceError {
  override readonly name = 'WebError'
  override readonly status: number

  constructor(status: number, message: string, cause?: unknown) {
    super('TUNNEL_API', message, { side: 'client', retryable: false, status, cause })
    this.status = status
  }
}
