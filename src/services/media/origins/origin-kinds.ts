import type { OriginKind, OriginUrls } from '../../../mechanisms/balancer/index.ts'
import type { SrsPortName } from './static-origin.ts'

/** Where a make of media server has streams, as it comes out of its box; `HOST` stands for the host. */
export interface KindOfOrigin {
  readonly urls: OriginUrls
  /** Its HTTP API, where that lists what is published. */
  readonly api?: string
}

/** Ports of an SRS as its samples have them. */
export const SRS_PORTS: Readonly<Record<SrsPortName, number>> = {
  rtmp: 1935,
  http: 8080,
  api: 1985,
  srt: 10_080,
  rtc: 8000,
}

/** Written from the manual of each. What a server has at another place is a URL in the configuration. */
export const ORIGIN_KINDS: Readonly<Record<OriginKind, KindOfOrigin>> = {
  // Only when one of its URLs is changed; an SRS is else asked as its clients ask.
  srs: {
    urls: {
      whip: 'http://HOST:1985/rtc/v1/whip/?app={app}&stream={stream}',
      whep: 'http://HOST:1985/rtc/v1/whep/?app={app}&stream={stream}',
      rtmp: 'rtmp://HOST:1935/{app}/{stream}',
      srtPublish: 'srt://HOST:10080?streamid=#!::r={app}/{stream},m=publish',
      srt: 'srt://HOST:10080?streamid=#!::r={app}/{stream},m=request',
      flv: 'http://HOST:8080/{app}/{stream}.flv',
      ts: 'http://HOST:8080/{app}/{stream}.ts',
      aac: 'http://HOST:8080/{app}/{stream}.aac',
      mp3: 'http://HOST:8080/{app}/{stream}.mp3',
      hls: 'http://HOST:8080/{app}/{stream}.m3u8',
      dash: 'http://HOST:8080/{app}/{stream}.mpd',
    },
    api: 'http://HOST:1985',
  },
  mediamtx: {
    urls: {
      whip: 'http://HOST:8889/{app}/{stream}/whip',
      whep: 'http://HOST:8889/{app}/{stream}/whep',
      rtmp: 'rtmp://HOST:1935/{app}/{stream}',
      srtPublish: 'srt://HOST:8890?streamid=publish:{app}/{stream}',
      srt: 'srt://HOST:8890?streamid=read:{app}/{stream}',
      hls: 'http://HOST:8888/{app}/{stream}/index.m3u8',
    },
    api: 'http://HOST:9997',
  },
  ovenmediaengine: {
    urls: {
      whip: 'http://HOST:3333/{app}/{stream}?direction=whip',
      whep: 'http://HOST:3333/{app}/{stream}?direction=whep',
      // It takes RTMP, and plays none.
      rtmpPublish: 'rtmp://HOST:1935/{app}/{stream}',
      srtPublish: 'srt://HOST:9999?streamid=default/{app}/{stream}',
      srt: 'srt://HOST:9998?streamid=default/{app}/{stream}/playlist',
      hls: 'http://HOST:3333/{app}/{stream}/llhls.m3u8',
    },
  },
  // Ingress only; the stream name is the stream key that LiveKit gave out.
  'livekit-ingress': {
    urls: {
      whip: 'http://HOST:8080/w/{stream}',
      rtmpPublish: 'rtmp://HOST:1935/x/{stream}',
    },
  },
  'nginx-rtmp': {
    urls: {
      rtmp: 'rtmp://HOST:1935/{app}/{stream}',
      hls: 'http://HOST:8080/hls/{stream}.m3u8',
    },
  },
  custom: { urls: {} },
}
