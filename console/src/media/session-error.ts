/** Something went wrong in a way that can be told to the person before the screen. */
export class SessionError extends Error {
  override readonly name = 'SessionError'
}

/** One or two sentences for any thrown value. */
export function describeError(error: unknown): string {
  if (error instanceof SessionError) return error.message
  if (error instanceof DOMException) return describeDomException(error)
  if (error instanceof TypeError) return 'The gateway cannot be reached. Is it running?'
  return error instanceof Error ? error.message : String(error)
}

function describeDomException(error: DOMException): string {
  switch (error.name) {
    case 'NotAllowedError':
      return 'The browser was not allowed to use this source. Allow it, or publish the test picture.'
    case 'NotFoundError':
      return 'No camera or microphone was found. The test picture needs none.'
    case 'NotReadableError':
      return 'The camera is in use by another program.'
    default:
      return error.message
  }
}
