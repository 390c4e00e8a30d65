import type { Readable, Writable } from 'node:stream'
import type { RawHeaders } from './raw-headers.ts'
import type { RequestTarget } from './request-target.ts'

/** A request of a user, in whichever version of HTTP it came. */
export interface UserRequest {
  readonly method: string
  readonly target: RequestTarget
  /** Without pseudo headers. */
  readonly headers: RawHeaders
  /** Absent: it has none. */
  readonly body: Readable | undefined
  /** Those behind the body; known when it has ended. */
  trailers(): RawHeaders
  /** Whether the user waits to be told to send the body. */
  readonly expectsContinue: boolean
  /** The protocol that the user would like to go on in, when there is one and no body. */
  readonly upgrade: string | undefined
  /** Whether HTTP/2 is spoken, so that a backend may be asked in it too. */
  readonly isHttp2: boolean
}

/** The answer to a user, in the same version. */
export interface UserAnswer {
  /** Whether the final status has been sent; from then on only the body can tell of trouble, by ending badly. */
  readonly isBegun: boolean
  /** Sends a status before the final one (1xx). It is left out where the user could not read it. */
  interim(status: number, headers: RawHeaders): void
  /**
   * Sends the final status. What is written to the result is the body; it is ended by `finish`.
   * @param hasTrailers whether trailers may follow
   * @throws Error when the status or a header cannot be sent; then nothing has been
   */
  begin(status: number, reason: string, headers: RawHeaders, hasTrailers: boolean): Writable
  finish(trailers: RawHeaders): void
  /** Ends it so that the user sees that it is not complete. */
  cut(): void
  /** Calls back once when the user is gone before the answer was complete. */
  onGone(callback: () => void): void
}

/** An answer of our own, in whole. */
export function reply(
  answer: UserAnswer,
  method: string,
  status: number,
  { reason, headers = [], body }: { reason: string; headers?: RawHeaders; body?: Uint8Array },
): void {
  const page = body ?? Buffer.from(`${reason}\n`)
  const type = body === undefined ? 'text/plain; charset=utf-8' : 'text/html; charset=utf-8'
  const all = [
    'Content-Type',
    type,
    'Content-Length',
    String(page.length),
    'X-Content-Type-Options',
    'nosniff',
    ...headers,
  ]
  const out = answer.begin(status, reason, all, false)
  if (method !== 'HEAD') out.write(page)
  answer.finish([])
}
