import { FlvSplice } from './flv-splice.ts'
import type { LiveNeed, LiveSplice } from './live-splice.ts'
import { TsSplice } from './ts-splice.ts'

/** What follows a body of the kind. */
export function spliceOf(need: LiveNeed): LiveSplice {
  switch (need) {
    case 'flv':
      return new FlvSplice()
    case 'ts':
      return new TsSplice()
    case 'aac':
    case 'mp3':
      return framesSplice
    default:
      return need satisfies never
  }
}

const NOTHING = new Uint8Array(0)

/** ADTS and MP3 frames begin with a mark that players look for: they find the next whole one by themselves. */
const framesSplice: LiveSplice = {
  canResume: true,
  pass: () => true,
  takeHeld: () => NOTHING,
  resume: () => ({ zeros: 0, tail: NOTHING }),
}
