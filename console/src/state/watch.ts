import { signal } from '@preact/signals'
import type { Signal } from '@preact/signals'
import { openFlvViewer } from '../media/flv-viewer.ts'
import { openWhepViewer } from '../media/whep-viewer.ts'
import { SessionError } from '../media/session-error.ts'
import { Session } from './session.ts'
import { streamPath } from './stream-path.ts'

export const protocolNames = { whep: 'WHEP', flv: 'HTTP-FLV' } as const
export type Protocol = keyof typeof protocolNames

export const watching: Session = new Session()
/** What the person typed. */
export const watchName: Signal<string> = signal('demo')
export const watchProtocol: Signal<Protocol> = signal('whep')
/** The element that shows it; the card sets it. */
export const watchVideo: { current: HTMLVideoElement | null } = { current: null }

export async function startWatching(): Promise<void> {
  await watching.start(async (abort, onEnded) => {
    const video = watchVideo.current
    if (video === null) throw new SessionError('The page is not ready yet.')
    const open = watchProtocol.value === 'whep' ? openWhepViewer : openFlvViewer
    return open({ path: streamPath(watchName.value), video, signal: abort, onEnded })
  })
}

export async function stopWatching(): Promise<void> {
  await watching.stop()
}

/** Watches a stream of the list. */
export async function watch(path: string, protocol: Protocol): Promise<void> {
  watchName.value = path
  watchProtocol.value = protocol
  await startWatching()
}
