import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startDemoOrigin } from './demo-origin.ts'
import { startSrtListener } from './srt-listener.ts'

/** An origin that speaks all that the gateway does: it is to be named in the configuration, since it registers nowhere. */
export interface WholeOrigin extends AsyncDisposable {
  /** Its entry in `origins`. */
  readonly config: object
  readonly rtmpPort: number
  readonly httpPort: number
  /** Headers of every request for a playlist, newest last. */
  readonly playlistRequests: readonly IncomingHttpHeaders[]
  /** `app/stream` of everything that is published by RTMP. */
  streams(): Promise<readonly string[]>
}

/**
 * Starts one. RTMP, HTTP-FLV, WHIP and WHEP are those of the demo origin; HLS has a playlist for every name; SRT has
 * every stream, and no media in it.
 */
export async function startWholeOrigin(): Promise<WholeOrigin> {
  const playlistRequests: IncomingHttpHeaders[] = []
  const web = createServer((request, response) => {
    const path = new URL(request.url ?? '', 'http://origin').pathname
    request.resume()
    // Where the demo origin registers.
    if (request.method === 'POST') response.end('{"code":0}')
    else if (path.endsWith('.m3u8')) {
      playlistRequests.push(request.headers)
      const lines = ['#EXTM3U', '#EXT-X-TARGETDURATION:2', '#EXTINF:2,', 'one.ts', '']
      response.setHeader('content-type', 'application/vnd.apple.mpegurl').end(lines.join('\n'))
    } else response.end(Buffer.alloc(188, 0x47))
  })
  web.listen(0, '127.0.0.1')
  await once(web, 'listening')
  const webUrl = `http://127.0.0.1:${(web.address() as AddressInfo).port}`
  const live = await startDemoOrigin(`${webUrl}/register`)
  const srt = await startSrtListener()
  const liveUrl = `http://127.0.0.1:${live.httpPort}`
  return {
    rtmpPort: live.rtmpPort,
    httpPort: live.httpPort,
    playlistRequests,
    streams: live.streams,
    config: {
      name: 'whole',
      kind: 'custom',
      check: false,
      urls: {
        whip: `${liveUrl}/rtc/v1/whip/?app={app}&stream={stream}`,
        whep: `${liveUrl}/rtc/v1/whep/?app={app}&stream={stream}`,
        rtmp: `rtmp://127.0.0.1:${live.rtmpPort}/{app}/{stream}`,
        flv: `${liveUrl}/{app}/{stream}.flv`,
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
