import { SessionError } from './session-error.ts'

/** A WebRTC session that was negotiated over HTTP: WHIP (RFC 9725) to publish, WHEP to watch. */
export interface HttpSession {
  /** Closes the connection, and tells the gateway by DELETE. Never rejects. */
  end(): Promise<void>
}

/** Candidates that took longer than this to find are left out; the gateway needs none of them. */
const GATHERING_LIMIT_MS = 1_000

/** Where streams are published and watched. */
export function sessionUrl(path: string, action: 'whip' | 'whep'): string {
  const [app = '', stream = ''] = path.split('/')
  return `/${encodeURIComponent(app)}/${encodeURIComponent(stream)}/${action}`
}

/**
 * Posts the offer of `connection` to `url` and applies the answer. Not trickling: the offer waits for its candidates.
 * @throws SessionError when the gateway says no
 */
export async function negotiate(
  connection: RTCPeerConnection,
  url: string,
  signal: AbortSignal,
): Promise<HttpSession> {
  await connection.setLocalDescription()
  await candidatesGathered(connection)
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/sdp' },
    body: connection.localDescription?.sdp ?? '',
    signal,
  })
  if (response.status !== 201) throw await refusal(response)
  const location = response.headers.get('location')
  const end = async (): Promise<void> => {
    connection.close()
    if (location === null) return
    // keepalive lets the request outlive the page. If it is lost, the gateway ends the idle session by itself.
    await fetch(new URL(location, response.url), { method: 'DELETE', keepalive: true }).catch(() => undefined)
  }
  try {
    await connection.setRemoteDescription({ type: 'answer', sdp: await response.text() })
  } catch (error) {
    await end()
    throw error
  }
  return { end }
}

async function candidatesGathered(connection: RTCPeerConnection): Promise<void> {
  if (connection.iceGatheringState === 'complete') return
  await new Promise<void>((resolve) => {
    const limit = setTimeout(resolve, GATHERING_LIMIT_MS)
    connection.addEventListener('icegatheringstatechange', () => {
      if (connection.iceGatheringState !== 'complete') return
      clearTimeout(limit)
      resolve()
    })
  })
}

async function refusal(response: Response): Promise<SessionError> {
  const { status } = response
  if (status === 404) {
    return new SessionError('No such live stream in this form. Is it published, and by WHIP?')
  }
  if (status === 409)
    return new SessionError('Somebody publishes under this name already. Take another name.')
  if (status === 502 || status === 503 || status === 504) {
    return new SessionError(`No origin can take the stream at the moment (${status}). Try again soon.`)
  }
  return new SessionError(`The gateway refused: ${status} ${await codeOf(response)}`.trim())
}

async function codeOf(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { code?: unknown }
    return typeof body.code === 'string' || typeof body.code === 'number' ? String(body.code) : ''
  } catch {
    return response.statusText
  }
}
