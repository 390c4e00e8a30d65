import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock, Timer } from '../../../../foundation/clock.ts'

/** Media in fragmented MP4. */
export interface HlsMedia {
  /** The initialization section. */
  readonly init: Buffer
  /** Fragments, used one after another and again from the first; each must be decodable by itself. */
  readonly parts: readonly Buffer[]
}

export interface HlsOriginOptions {
  /** Path of the multivariant playlist, without `.m3u8`; everything else lies in a directory of that name. @defaultValue `/live/s` */
  readonly path?: string
  /** @defaultValue made up, not playable */
  readonly media?: HlsMedia
  /** Of RFC 6381, for the multivariant playlist. @defaultValue `avc1.42c01e` */
  readonly codecs?: string
  /** @defaultValue 4 */
  readonly partsPerSegment?: number
  /** @defaultValue 0.5 */
  readonly partSeconds?: number
  /** Whether parts are byte ranges of their segment instead of files. @defaultValue false */
  readonly isByteRange?: boolean
  /** Segments that a playlist holds. @defaultValue 4 */
  readonly windowSegments?: number
  /** @defaultValue 0: any free one */
  readonly port?: number
}

const DEFAULTS = {
  path: '/live/s',
  codecs: 'avc1.42c01e',
  partsPerSegment: 4,
  partSeconds: 0.5,
  isByteRange: false,
  windowSegments: 4,
  port: 0,
  media: { init: Buffer.from('init'), parts: [Buffer.from('part-a;'), Buffer.from('part-b;')] } as HlsMedia,
}

/**
 * An origin with one low-latency HLS stream: fragmented MP4, blocking reload, parts, preload hints and rendition reports. Its
 * stream grows by `publish`, or by itself with `run`.
 */
export class HlsOrigin {
  /** What was asked for, newest last. */
  readonly requests: { readonly url: string; readonly headers: IncomingMessage['headers'] }[] = []
  readonly #options: typeof DEFAULTS
  readonly #server = createServer((request, response) => void this.#answer(request, response))
  readonly #waiting = new Set<() => void>()
  /** Parts published so far. */
  #parts = 0
  #timer: Timer | undefined

  private constructor(options: HlsOriginOptions) {
    this.#options = { ...DEFAULTS, ...options }
  }

  static async start(options: HlsOriginOptions = {}): Promise<HlsOrigin> {
    const origin = new HlsOrigin(options)
    origin.#server.listen(origin.#options.port, '127.0.0.1')
    await once(origin.#server, 'listening')
    return origin
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Requests that wait for what is not published yet. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Publishes parts, and answers those who waited for them. */
  publish(parts = 1): void {
    this.#parts += parts
    for (const wake of [...this.#waiting]) wake()
  }

  /** Publishes a part each time that one is over. */
  run(clock: Clock): void {
    this.#timer = clock.after(this.#options.partSeconds * 1000, () => {
      this.publish()
      this.run(clock)
    })
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    this.#server.closeAllConnections()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://origin')
    this.requests.push({ url: request.url ?? '', headers: request.headers })
    const { path, media } = this.#options
    if (url.pathname === `${path}.m3u8`) return sendText(response, this.#multivariant())
    const name = url.pathname.startsWith(`${path}/`) ? url.pathname.slice(path.length + 1) : ''
    if (name === 'main.m3u8' || name === 'other.m3u8') return this.#sendPlaylist(url, response)
    if (name === 'init.mp4') return sendBytes(request, response, media.init)
    const [, segment, part] = /^seg(\d+)(?:\.(\d+))?\.m4s$/.exec(name) ?? []
    if (segment === undefined) {
      response.writeHead(404).end()
      return
    }
    return this.#sendMedia(request, response, Number(segment), part === undefined ? undefined : Number(part))
  }

  #multivariant(): string {
    const name = this.#options.path.split('/').at(-1) ?? ''
    const lines = ['main', 'other'].flatMap((rendition, index) => [
      `#EXT-X-STREAM-INF:BANDWIDTH=${800_000 + index},CODECS="${this.#options.codecs}"`,
      `${name}/${rendition}.m3u8`,
    ])
    return ['#EXTM3U', '#EXT-X-VERSION:9', '#EXT-X-INDEPENDENT-SEGMENTS', ...lines, ''].join('\n')
  }

  /** RFC 8216bis §6.2.5.2 */
  async #sendPlaylist({ searchParams }: URL, response: ServerResponse): Promise<void> {
    const segment = searchParams.get('_HLS_msn')
    if (segment !== null) {
      const { partsPerSegment } = this.#options
      const part = Number(searchParams.get('_HLS_part') ?? partsPerSegment - 1)
      await this.#until(() => this.#parts > Number(segment) * partsPerSegment + part, response)
    }
    sendText(response, this.#playlist())
  }

  #playlist(): string {
    const { partsPerSegment, partSeconds, windowSegments } = this.#options
    const current = Math.floor(this.#parts / partsPerSegment)
    const first = Math.max(0, current - windowSegments)
    const lines = [
      '#EXTM3U',
      '#EXT-X-VERSION:9',
      `#EXT-X-TARGETDURATION:${Math.ceil(partsPerSegment * partSeconds)}`,
      `#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=${partSeconds * 3}`,
      `#EXT-X-PART-INF:PART-TARGET=${partSeconds}`,
      `#EXT-X-MEDIA-SEQUENCE:${first}`,
      '#EXT-X-MAP:URI="init.mp4"',
    ]
    for (let segment = first; segment <= current; segment++) {
      const parts = Math.min(partsPerSegment, this.#parts - segment * partsPerSegment)
      for (let part = 0; part < parts; part++) lines.push(this.#partLine(segment, part))
      if (segment < current) lines.push(`#EXTINF:${partsPerSegment * partSeconds},`, `seg${segment}.m4s`)
    }
    lines.push(this.#hintLine(current, this.#parts % partsPerSegment))
    lines.push(`#EXT-X-RENDITION-REPORT:URI="other.m3u8",LAST-MSN=${current}`, '')
    return lines.join('\n')
  }

  #partLine(segment: number, part: number): string {
    const { isByteRange, partSeconds } = this.#options
    const start = this.#bytesBefore(segment, part)
    const range = `,BYTERANGE="${this.#part(segment, part).length}@${start}"`
    const uri = isByteRange ? `seg${segment}.m4s` : `seg${segment}.${part}.m4s`
    return `#EXT-X-PART:DURATION=${partSeconds},URI="${uri}",INDEPENDENT=YES${isByteRange ? range : ''}`
  }

  #hintLine(segment: number, part: number): string {
    if (!this.#options.isByteRange) return `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="seg${segment}.${part}.m4s"`
    return `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="seg${segment}.m4s",BYTERANGE-START=${this.#bytesBefore(segment, part)}`
  }

  async #sendMedia(
    request: IncomingMessage,
    response: ServerResponse,
    segment: number,
    part: number | undefined,
  ): Promise<void> {
    const { partsPerSegment } = this.#options
    const first = segment * partsPerSegment
    if (first > this.#parts) {
      response.writeHead(404).end()
      return
    }
    if (part !== undefined) {
      // What was hinted at is sent when it is there.
      await this.#until(() => this.#parts > first + part, response)
      return sendBytes(request, response, this.#part(segment, part))
    }
    if (this.#parts >= first + partsPerSegment) {
      const parts = Array.from({ length: partsPerSegment }, (_, index) => this.#part(segment, index))
      return sendBytes(request, response, Buffer.concat(parts))
    }
    return this.#sendGrowing(request, response, segment)
  }

  /** A segment of which more parts come, from the byte on that was asked for. */
  async #sendGrowing(request: IncomingMessage, response: ServerResponse, segment: number): Promise<void> {
    const { partsPerSegment } = this.#options
    const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    response.writeHead(200, { 'Content-Type': 'video/mp4' })
    response.flushHeaders()
    for (let part = 0; part < partsPerSegment && !response.destroyed; part++) {
      if (this.#bytesBefore(segment, part) < start) continue
      await this.#until(() => this.#parts > segment * partsPerSegment + part, response)
      response.write(this.#part(segment, part))
    }
    response.end()
  }

  #part(segment: number, part: number): Buffer {
    const { parts } = this.#options.media
    const index = segment * this.#options.partsPerSegment + part
    return parts[index % parts.length] ?? Buffer.alloc(0)
  }

  #bytesBefore(segment: number, part: number): number {
    let bytes = 0
    for (let before = 0; before < part; before++) bytes += this.#part(segment, before).length
    return bytes
  }

  #until(condition: () => boolean, response: ServerResponse): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise((resolve) => {
      const wake = (): void => {
        if (!condition() && !response.destroyed) return
        this.#waiting.delete(wake)
        resolve()
      }
      this.#waiting.add(wake)
      response.once('close', wake)
    })
  }
}

/** The initialization section and the fragments of a fragmented MP4 file. */
export function mediaOfMp4(file: Buffer): HlsMedia {
  const init: Buffer[] = []
  const parts: Buffer[] = []
  let fragment: Buffer[] = []
  for (let at = 0; at + 8 <= file.length; ) {
    const length = Math.max(8, file.readUInt32BE(at))
    const type = file.toString('latin1', at + 4, at + 8)
    const box = file.subarray(at, at + length)
    at += length
    if (type === 'ftyp' || type === 'moov') init.push(box)
    if (type === 'moof') fragment = [box]
    if (type === 'mdat') parts.push(Buffer.concat([...fragment, box]))
  }
  return { init: Buffer.concat(init), parts }
}

function sendText(response: ServerResponse, text: string): void {
  response.writeHead(200, {
    'Content-Type': 'application/vnd.apple.mpegurl',
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-cache',
    ETag: '"text"',
  })
  response.end(text)
}

function sendBytes({ headers }: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? []
  const common = { 'Content-Type': 'video/mp4', 'Accept-Ranges': 'bytes', ETag: '"bytes"' }
  if (headers['if-none-match'] === '"bytes"') {
    response.writeHead(304, common).end()
    return
  }
  if (first === undefined) {
    response.writeHead(200, { ...common, 'Content-Length': bytes.length }).end(bytes)
    return
  }
  const end = last === '' || last === undefined ? bytes.length : Math.min(bytes.length, Number(last) + 1)
  const range = bytes.subarray(Number(first), end)
  response.writeHead(206, {
    ...common,
    'Content-Length': range.length,
    'Content-Range': `bytes ${first}-${end - 1}/${bytes.length}`,
  })
  response.end(range)
}
