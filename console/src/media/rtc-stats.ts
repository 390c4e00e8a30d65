/** What is shown of a running session. Absent values are not known yet. */
export interface MediaStats {
  readonly frames?: number
  readonly framesPerSecond?: number
  readonly width?: number
  readonly height?: number
  readonly bitsPerSecond?: number
  readonly codec?: string
  readonly roundTripMs?: number
  readonly packetsLost?: number
}

interface Sample {
  readonly bytes: number
  readonly timestamp: number
}

/** Members of the reports that are read here; each is in some of them only. */
interface Report {
  readonly id: string
  readonly type: string
  readonly kind?: string
  readonly timestamp: number
  readonly framesDecoded?: number
  readonly framesEncoded?: number
  readonly framesPerSecond?: number
  readonly frameWidth?: number
  readonly frameHeight?: number
  readonly bytesReceived?: number
  readonly bytesSent?: number
  readonly packetsLost?: number
  readonly codecId?: string
  readonly mimeType?: string
  readonly nominated?: boolean
  readonly currentRoundTripTime?: number
}

/** Reads the statistics of a connection again and again; bit rates are over the time between two readings. */
export class StatsReader {
  readonly #connection: RTCPeerConnection
  #last: Sample | undefined

  constructor(connection: RTCPeerConnection) {
    this.#connection = connection
  }

  async read(): Promise<MediaStats> {
    const reports: Report[] = []
    // The DOM types know the reports' ids and types only.
    for (const report of (await this.#connection.getStats()).values()) reports.push(report as Report)
    const streams = reports.filter(({ type }) => type === 'inbound-rtp' || type === 'outbound-rtp')
    const video = streams.find(({ kind }) => kind === 'video')
    const codecs = streams.flatMap(({ codecId }) => reports.find(({ id }) => id === codecId)?.mimeType ?? [])
    const pair = reports.find(({ type, nominated }) => type === 'candidate-pair' && nominated)
    const roundTrip = pair?.currentRoundTripTime
    return defined({
      frames: video?.framesDecoded ?? video?.framesEncoded,
      framesPerSecond: video?.framesPerSecond,
      width: video?.frameWidth,
      height: video?.frameHeight,
      bitsPerSecond: this.#bitsPerSecond(streams),
      codec: codecNames(codecs),
      roundTripMs: roundTrip === undefined ? undefined : roundTrip * 1000,
      packetsLost: video?.packetsLost,
    })
  }

  #bitsPerSecond(streams: readonly Report[]): number | undefined {
    const timestamp = streams[0]?.timestamp
    if (timestamp === undefined) return undefined
    let bytes = 0
    for (const report of streams) bytes += report.bytesReceived ?? report.bytesSent ?? 0
    const last = this.#last
    this.#last = { bytes, timestamp }
    if (last === undefined || timestamp <= last.timestamp) return undefined
    return ((bytes - last.bytes) * 8000) / (timestamp - last.timestamp)
  }
}

/** `H264 + Opus` for the MIME types or RFC 6381 texts of a session's codecs; undefined when there are none. */
export function codecNames(codecs: readonly string[]): string | undefined {
  const names = codecs.map((codec) => {
    const [first = ''] = codec.replace(/^\w+\//, '').split('.')
    return familiarNames[first.toLowerCase()] ?? first
  })
  const soundLast = names.toSorted((a, b) => Number(soundNames.has(a)) - Number(soundNames.has(b)))
  return soundLast.join(' + ') || undefined
}

const familiarNames: Readonly<Record<string, string>> = {
  avc1: 'H264',
  hvc1: 'HEVC',
  av01: 'AV1',
  mp4a: 'AAC',
  opus: 'Opus',
}
const soundNames: ReadonlySet<string> = new Set(['AAC', 'Opus'])

/** `values` without those that are undefined. */
export function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
