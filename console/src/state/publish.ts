import { signal } from '@preact/signals'
import type { Signal } from '@preact/signals'
import { openRtcSession } from '../media/rtc-session.ts'
import { openSource, type SourceName } from '../media/sources.ts'
import { sessionUrl } from '../media/whip.ts'
import { Session } from './session.ts'
import { streamPath } from './stream-path.ts'

export const publishing: Session = new Session()
/** What the person typed. */
export const publishName: Signal<string> = signal('demo')
export const publishSource: Signal<SourceName> = signal('test')
/** What is being published, for the preview. */
export const preview: Signal<MediaStream | undefined> = signal(undefined)

export async function startPublishing(): Promise<void> {
  await publishing.start(async (abort, onEnded) => {
    const url = sessionUrl(streamPath(publishName.value), 'whip')
    const source = await openSource(publishSource.value)
    preview.value = source.media
    const release = (): void => {
      source.close()
      if (preview.value === source.media) preview.value = undefined
    }
    const connection = new RTCPeerConnection()
    for (const track of source.media.getTracks()) {
      connection.addTransceiver(track, { direction: 'sendonly', streams: [source.media] })
      // "Stop sharing" in the browser's own bar.
      track.addEventListener('ended', () => onEnded('The source was stopped.'))
    }
    return await openRtcSession({ connection, url, signal: abort, onEnded, release })
  })
}

export async function stopPublishing(): Promise<void> {
  await publishing.stop()
}
