import { needsExtended } from './chunk-header.ts'

/** What the receiver behind a relay remembers, when another relay is to go on with it. */
export interface FarSide {
  readonly streams: Map<number, FarStream>
  /** Chunk size that has been announced to it, in bytes. */
  readonly chunkSize: number
  /** The latest time of audio and video that it was sent; undefined when it was sent none. */
  readonly timestamp: number | undefined
}

/** How the payload of a message crosses. `dropped`: its begin went to another far side, so its rest goes nowhere. */
export const Passage = { through: 0, gathered: 1, consumed: 2, dropped: 3 } as const
export type Passage = (typeof Passage)[keyof typeof Passage]

/** What the far side remembers of a chunk stream. */
export class FarStream {
  /** Whether it has seen a header since the join. */
  isKnown = false
  /** Whether it remembers what the near side believes it does, so that any header means the same to both. */
  isInStep = false
  /** Whether it is inside a message. */
  isOpen = false
  streamId = 0
  timestamp = 0
  timestampField = 0
  isExtended = false
  /** Of the message that crosses now: how, the header type it began with, and whether it is audio or video. */
  passage: Passage = Passage.through
  startFormat = 0
  isMedia = false

  remember(streamId: number, timestamp: number, timestampField: number): void {
    this.isKnown = true
    this.streamId = streamId
    this.timestamp = timestamp
    this.timestampField = timestampField
    this.isExtended = needsExtended(timestampField)
  }
}
