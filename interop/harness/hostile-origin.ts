import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { segmentBytes } from './bystanders.ts'

/** An origin of HLS and FLV that has one sound stream, and for other names whatever an origin should not say. */
export interface HostileOrigin extends AsyncDisposable {
  /** Its entry in `origins`, by the name `files`. */
  readonly config: object
  readonly port: number
  /** Request lines that came. */
  readonly requests: readonly string[]
}

const SEGMENT_MS = 500
const WINDOW = 6

/** Its stream is `run`, of any app. */
export async function startHostileOrigin(): Promise<HostileOrigin> {
  const requests: string[] = []
  const startMs = performance.now()
  const server = createServer((request, response) => {
    request.resume()
    requests.push(`${request.method} ${request.url}`)
    const path = request.url?.split('?', 1)[0] ?? ''
    const own = `http://127.0.0.1:${portOf()}/inner/secret`
    const name = path.slice(path.lastIndexOf('/') + 1)
    const number = /^run-(\d+)\.ts$/.exec(name)?.[1]
    if (number !== undefined) {
      response.end(segmentBytes(Number(number)))
      return
    }
    switch (name) {
      case 'run.m3u8':
        response.end(playlist(Math.floor((performance.now() - startMs) / SEGMENT_MS)))
        return
      case 'endless.m3u8':
        response.write('#EXTM3U\n')
        pour(response.socket, 'endless.ts\n'.repeat(1_000))
        return
      case 'endless-head.m3u8':
        pour(response.socket, `HTTP/1.1 200 OK\r\n${'X-Filler: y\r\n'.repeat(1_000)}`)
        return
      case 'one-line.m3u8':
        response.end(`#EXTM3U\n${'x'.repeat(3_000_000)}`)
        return
      case 'quotes.m3u8':
        response.end(`#EXTM3U\n#EXT-X-KEY:${'A="'.repeat(20_000)}\n${'#EXT-X-MAP:URI="'.repeat(20_000)}\n`)
        return
      case 'define.m3u8':
        response.end(
          `#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="${'x'.repeat(60_000)}"\n${`${'{$a}'.repeat(15_000)}\n`.repeat(60)}`,
        )
        return
      case 'deep.mpd':
        response.end(`<MPD>${'<BaseURL>a/'.repeat(100_000)}`)
        return
      case 'quotes.mpd':
        response.end(`<MPD><SegmentTemplate ${`media="a" x='`.repeat(50_000)}`)
        return
      case 'refused.m3u8':
      case 'refused.flv':
        response.writeHead(403, { 'x-inner': own, link: `<${own}>` }).end(`no: ${own}`)
        return
      case 'broken.m3u8':
      case 'broken.flv':
        response.writeHead(500).end(`Error: connect ECONNREFUSED 127.0.0.1:${portOf()}`)
        return
      case 'elsewhere.m3u8':
      case 'elsewhere.flv':
        response.writeHead(302, { location: 'http://10.20.30.40:8080/inner' }).end()
        return
      case 'junk.m3u8':
      case 'junk.flv':
        response.socket?.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello')
        return
      case 'both.flv':
        response.socket?.end(
          'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx',
        )
        return
      case 'gone.m3u8':
      case 'gone.flv':
        response.socket?.destroy()
        return
      default:
        response.writeHead(404).end(`nothing at ${own}`)
    }
  })
  const portOf = (): number => (server.address() as AddressInfo).port
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = (extension: string): string => `http://127.0.0.1:${portOf()}/inner/{app}/{stream}.${extension}`
  return {
    port: portOf(),
    requests,
    config: {
      name: 'files',
      kind: 'custom',
      host: '127.0.0.1',
      check: false,
      urls: { hls: at('m3u8'), dash: at('mpd'), flv: at('flv') },
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function playlist(last: number): string {
  const first = Math.max(0, last - WINDOW)
  const segments = Array.from({ length: last - first }, (_, index) => `#EXTINF:0.5,\nrun-${first + index}.ts`)
  return ['#EXTM3U', '#EXT-X-TARGETDURATION:1', `#EXT-X-MEDIA-SEQUENCE:${first}`, ...segments, ''].join('\n')
}

/** Until the other side has enough. */
function pour(socket: Socket | null, text: string): void {
  if (socket === null || socket.destroyed) return
  socket.on('error', () => {})
  socket.write(text, () => setImmediate(() => pour(socket, text)))
}
