import type { MediaStats } from './rtc-stats.ts'

/** Somebody who shows a stream in a video element. */
export interface Viewer {
  stats(): Promise<MediaStats>
  /** Never rejects. */
  end(): Promise<void>
}

/** What a viewer needs to begin. */
export interface ViewerOptions {
  /** `app/stream` */
  readonly path: string
  readonly video: HTMLVideoElement
  readonly signal: AbortSignal
  /** Called once when the stream ends from the other side. */
  readonly onEnded: (reason: string) => void
}
