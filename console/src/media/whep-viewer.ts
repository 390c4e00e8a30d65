import { openRtcSession } from './rtc-session.ts'
import type { Viewer, ViewerOptions } from './viewer.ts'
import { sessionUrl } from './whip.ts'

/** Watches by WHEP. @throws SessionError when the gateway refuses or no connection comes about */
export async function openWhepViewer({ path, video, signal, onEnded }: ViewerOptions): Promise<Viewer> {
  const connection = new RTCPeerConnection()
  const media = new MediaStream()
  connection.addTransceiver('video', { direction: 'recvonly' })
  connection.addTransceiver('audio', { direction: 'recvonly' })
  connection.addEventListener('track', ({ track }) => media.addTrack(track))
  video.srcObject = media
  const release = (): void => {
    video.srcObject = null
  }
  return await openRtcSession({ connection, url: sessionUrl(path, 'whep'), signal, onEnded, release })
}
