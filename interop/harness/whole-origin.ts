import { once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as askHttp,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'
import { startDemoOrigin } from './demo-origin.ts'
import { startSrtListener } from './srt-listener.ts'

export interface WholeOriginRequest {
  readonly path: string
  readonly headers: IncomingHttpHeaders
}

/** An origin that speaks all that the gateway does: it is to be named in the configuration, since it registers nowhere. */
export interface WholeOrigin extends AsyncDisposable {
  /** Its entry in `origins`. */
  readonly config: {
    readonly name: string
    readonly kind: string
    readonly check: false
    readonly urls: Readonly<Record<string, string>>
  }
  readonly rtmpPort: number
  /** Where it takes WHIP, WHEP and HTTP-FLV. */
  readonly httpPort: number
  /** What it was asked over HTTP, newest last. */
  readonly requests: readonly WholeOriginRequest[]
  /** `app/stream` of everything that is published by RTMP. */
  streams(): Promise<readonly string[]>
}

/**
 * Starts one. RTMP, HTTP-FLV, WHIP and WHEP are those of the demo origin; HLS has a playlist for every name; SRT has
 * every stream, and no media in it.
 */
export async function startWholeOrigin(): Promise<WholeOrigin> {
  const requests: WholeOriginRequest[] = []
  let liveOrigin = ''
  const web = createServer((request, response) => {
    const path = new URL(request.url ?? '', 'http://origin').pathname
    if (path === '/register') {
      request.resume()
      response.end('{"code":0}')
      return
    }
    requests.push({ path, headers: request.headers })
    if (path.endsWith('.m3u8')) {
      const lines = ['#EXTM3U', '#EXT-X-TARGETDURATION:2', '#EXTINF:2,', 'one.ts', '']
      response.setHeader('content-type', 'application/vnd.apple.mpegurl').end(lines.join('\n'))
    } else if (path.endsWith('.ts')) response.end(Buffer.alloc(188, 0x47))
    else passOn(request, response, liveOrigin)
  })
  web.listen(0, '127.0.0.1')
  await once(web, 'listening')
  const webUrl = `http://127.0.0.1:${(web.address() as AddressInfo).port}`
  const live = await startDemoOrigin(`${webUrl}/register`)
  const srt = await startSrtListener()
  liveOrigin = `http://127.0.0.1:${live.httpPort}`
  return {
    rtmpPort: live.rtmpPort,
    httpPort: (web.address() as AddressInfo).port,
    requests,
    streams: () => live.streams(),
    config: {
      name: 'whole',
      kind: 'custom',
      check: false,
      urls: {
        whip: `${webUrl}/rtc/v1/whip/?app={app}&stream={stream}`,
        whep: `${webUrl}/rtc/v1/whep/?app={app}&stream={stream}`,
        rtmp: `rtmp://127.0.0.1:${live.rtmpPort}/{app}/{stream}`,
        flv: `${webUrl}/{app}/{stream}.flv`,
        hls: `${webUrl}/{app}/{stream}.m3u8`,
        srt: `srt://127.0.0.1:${srt.port}?streamid={stream}`,
      },
    },
    [Symbol.asyncDispose]: async () => {
      await srt[Symbol.asyncDispose]()
      await live[Symbol.asyncDispose]()
      web.close()
      web.closeAllConnections()
    },
  }
}

function passOn(request: IncomingMessage, response: ServerResponse, base: string): void {
  const { method, headers, url = '' } = request
  const asked = askHttp(base + url, { ...(method !== undefined && { method }), headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    pipeline(answer, response, () => {})
  })
  response.on('close', () => asked.destroy())
  pipeline(request, asked, (error) => {
    if (error) response.destroy()
  })
}
