import { signal } from '@preact/signals'
import type { Signal } from '@preact/signals'
import { watchConnection } from '../media/connection.ts'
import { StatsReader } from '../media/rtc-stats.ts'
import type { Source } from '../media/source.ts'
import { openSource, type SourceName } from '../media/sources.ts'
import { negotiate, sessionUrl } from '../media/whip.ts'
import { Session } from './session.ts'
import type { Running } from './session.ts'
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
    try {
      return await publish(source, url, abort, onEnded, release)
    } catch (error) {
      release()
      throw error
    }
  })
}

export async function stopPublishing(): Promise<void> {
  await publishing.stop()
}

async function publish(
  source: Source,
  url: string,
  abort: AbortSignal,
  onEnded: (reason: string) => void,
  release: () => void,
): Promise<Running> {
  const connection = new RTCPeerConnection()
  for (const track of source.media.getTracks()) {
    connection.addTransceiver(track, { direction: 'sendonly', streams: [source.media] })
    // "Stop sharing" in the browser's own bar.
    track.addEventListener('ended', () => onEnded('The source was stopped.'))
  }
  try {
    const session = await negotiate(connection, url, abort)
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
  } catch (error) {
    connection.close()
    throw error
  }
}
