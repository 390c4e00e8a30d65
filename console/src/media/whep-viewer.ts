import { watchConnection } from './connection.ts'
import { StatsReader } from './rtc-stats.ts'
import type { Viewer, ViewerOptions } from './viewer.ts'
import { negotiate, sessionUrl } from './whip.ts'

/** Watches by WHEP. @throws SessionError when the gateway refuses or no connection comes about */
export async function openWhepViewer({ path, video, signal, onEnded }: ViewerOptions): Promise<Viewer> {
  const connection = new RTCPeerConnection()
  const media = new MediaStream()
  connection.addTransceiver('video', { direction: 'recvonly' })
  connection.addTransceiver('audio', { direction: 'recvonly' })
  connection.addEventListener('track', ({ track }) => media.addTrack(track))
  video.srcObject = media
  const session = await negotiate(connection, sessionUrl(path, 'whep'), signal).catch((error: unknown) => {
    connection.close()
    throw error
  })
  const end = async (): Promise<void> => {
    video.srcObject = null
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
