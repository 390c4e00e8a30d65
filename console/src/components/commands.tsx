import { demoInfo } from '../state/gateway.ts'
import { CopyLine } from './copy-line.tsx'

const SHARED_NAME = 'show'

/** Lines to paste elsewhere, with the names and ports by which this page itself was reached. */
export function Commands() {
  const { httpPort, rtmpPort } = demoInfo.value
  const host = location.hostname
  const page = `${location.protocol}//${host}:${httpPort}`
  const rtmp = `rtmp://${host}:${rtmpPort}/live`
  return (
    <section class="card" aria-labelledby="commands-title">
      <div class="card-head">
        <h2 id="commands-title">With other programs</h2>
      </div>
      <div class="commands">
        <div>
          <h3>Publish</h3>
          <CopyLine
            title="ffmpeg, a test picture with tone"
            text={`ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440 -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 60 -c:a aac -f flv ${rtmp}/${SHARED_NAME}`}
          />
          <CopyLine
            title="ffmpeg, a file over and over"
            text={`ffmpeg -re -stream_loop -1 -i video.mp4 -c:v libx264 -preset veryfast -g 60 -c:a aac -f flv ${rtmp}/${SHARED_NAME}`}
          />
          <CopyLine title="OBS by RTMP: server" text={rtmp} />
          <CopyLine title="OBS by RTMP: stream key" text={SHARED_NAME} />
          <CopyLine title="OBS by WHIP: server" text={`${page}/live/${SHARED_NAME}/whip`} />
        </div>
        <div>
          <h3>Watch what came by RTMP</h3>
          <CopyLine title="ffplay, RTMP" text={`ffplay -fflags nobuffer ${rtmp}/${SHARED_NAME}`} />
          <CopyLine
            title="ffplay or VLC, HTTP-FLV"
            text={`ffplay -fflags nobuffer ${page}/live/${SHARED_NAME}.flv`}
          />
          <h3>Watch what came by WHIP</h3>
          <CopyLine title="any WHEP player" text={`${page}/live/${SHARED_NAME}/whep`} />
          <h3>Ask the gateway</h3>
          <CopyLine title="live streams" text={`curl ${page}/api/v1/streams`} />
        </div>
      </div>
    </section>
  )
}
