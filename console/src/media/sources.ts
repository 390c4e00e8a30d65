import type { Source } from './source.ts'
import { openTestPicture } from './test-picture.ts'

export const sourceNames = { test: 'Test picture', camera: 'Camera', screen: 'Screen' } as const
export type SourceName = keyof typeof sourceNames

/** @throws DOMException when the browser or the person says no */
export async function openSource(name: SourceName): Promise<Source> {
  if (name === 'test') return openTestPicture()
  if (name === 'screen') return fromDevices(await devices().getDisplayMedia({ audio: true, video: true }))
  const video = { width: { ideal: 1280 }, height: { ideal: 720 } }
  return fromDevices(await devices().getUserMedia({ audio: true, video }))
}

function devices(): MediaDevices {
  // Browsers hide it on pages that came neither over TLS nor from this machine.
  const { mediaDevices } = navigator as { mediaDevices?: MediaDevices }
  if (mediaDevices !== undefined) return mediaDevices
  throw new DOMException(
    'The browser gives camera and screen only to pages from https or localhost. The test picture works here too.',
    'SecurityError',
  )
}

function fromDevices(media: MediaStream): Source {
  return {
    media,
    close: () => {
      for (const track of media.getTracks()) track.stop()
    },
  }
}
