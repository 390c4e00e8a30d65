import { DemoError, DemoErrorCode } from './errors.ts'

/** How the demo origin names a stream; it knows no virtual hosts. */
export interface StreamName {
  readonly app: string
  readonly stream: string
}

/** One line of the list of live streams. */
export interface StreamEntry extends StreamName {
  readonly protocol: 'webrtc' | 'rtmp'
  readonly players: number
}

const MAX_PART_LENGTH = 128

/** @throws DemoError `DEMO_STREAM_NAME_INVALID` */
export function streamName(app: string | null, stream: string | null): StreamName {
  if (!isPart(app) || !isPart(stream)) {
    throw new DemoError(
      DemoErrorCode.streamNameInvalid,
      `app and stream are needed, at most ${MAX_PART_LENGTH} characters each`,
      400,
    )
  }
  return { app, stream }
}

/** The key of a stream in a table of the demo origin. */
export function streamPath({ app, stream }: StreamName): string {
  return `${app}/${stream}`
}

function isPart(text: string | null): text is string {
  return text !== null && text.length > 0 && text.length <= MAX_PART_LENGTH
}
