import { watchConnection } from './connection.ts'
import { type MediaStats, StatsReader } from './rtc-stats.ts'
import { negotiate } from './whip.ts'

/** What a WHIP or WHEP session is made of. */
export interface RtcSessionOptions {
  /** With its transceivers; closed when no session comes about. */
  readonly connection: RTCPeerConnection
  readonly url: string
  readonly signal: AbortSignal
  readonly onEnded: (reason: string) => void
  /** Lets go of what the session used; called when it ends or does not come about. */
  readonly release: () => void
}

/** A session that is connected. */
export interface RtcSession {
  stats(): Promise<MediaStats>
  end(): Promise<void>
}

/**
 * A WHIP or WHEP session that is connected. `end` deletes it at the gateway.
 * @throws SessionError when the gateway refuses or no connection comes about
 */
export async function openRtcSession(options: RtcSessionOptions): Promise<RtcSession> {
  const { connection, url, signal, onEnded, release } = options
  const session = await negotiate(connection, url, signal).catch((error: unknown) => {
    release()
    connection.close()
    throw error
  })
  const end = async (): Promise<void> => {
    release()
    await session.end()
  }
  try {
    await watchConnection(connection, onEnded)
  } catch (error) {
    await end()
    throw error
  }
  const reader = new StatsReader(connection)
  return { stats: () => reader.read(), end }
}
