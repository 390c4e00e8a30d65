import { SessionError } from './session-error.ts'

/** A connection that is not there after this is not coming. */
const CONNECT_LIMIT_MS = 10_000
/** A connection that is interrupted for longer is over: the other side left without a word. */
const INTERRUPTION_LIMIT_MS = 2_000

/**
 * Resolves once `connection` is connected; afterwards calls `onLost` once if it breaks.
 * @throws SessionError when it does not connect
 */
export async function watchConnection(
  connection: RTCPeerConnection,
  onLost: (reason: string) => void,
): Promise<void> {
  await connected(connection)
  let interruption: ReturnType<typeof setTimeout> | undefined
  const stop = new AbortController()
  const lost = (): void => {
    stop.abort()
    onLost('The stream ended, or the connection was lost.')
  }
  const look = (): void => {
    const { connectionState } = connection
    clearTimeout(interruption)
    if (connectionState === 'failed') lost()
    if (connectionState === 'disconnected') {
      interruption = setTimeout(() => {
        // 'closed' by then: we ended it ourselves.
        if (connection.connectionState === 'disconnected') lost()
      }, INTERRUPTION_LIMIT_MS)
    }
  }
  connection.addEventListener('connectionstatechange', look, { signal: stop.signal })
  look()
}

async function connected(connection: RTCPeerConnection): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const stop = new AbortController()
    const look = (): void => {
      const { connectionState } = connection
      if (connectionState === 'connected') resolve()
      else if (connectionState === 'failed') reject(new SessionError(NO_CONNECTION))
      else if (connectionState === 'closed') reject(new SessionError('Stopped.'))
      else return
      clearTimeout(limit)
      stop.abort()
    }
    const limit = setTimeout(() => {
      stop.abort()
      reject(new SessionError(NO_CONNECTION))
    }, CONNECT_LIMIT_MS)
    connection.addEventListener('connectionstatechange', look, { signal: stop.signal })
    look()
  })
}

const NO_CONNECTION =
  'The gateway answered, but no media connection came about. Is its WebRTC port (UDP) reachable from here?'
