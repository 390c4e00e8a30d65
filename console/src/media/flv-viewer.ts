import { codecNames, defined } from './rtc-stats.ts'
import { SessionError } from './session-error.ts'
import type { Viewer, ViewerOptions } from './viewer.ts'

/** Watches by HTTP-FLV with mpegts.js, which is loaded here. @throws SessionError when the stream cannot be had */
export async function openFlvViewer({ path, video, signal, onEnded }: ViewerOptions): Promise<Viewer> {
  const { default: mpegts } = await import('mpegts.js')
  if (!mpegts.isSupported()) {
    throw new SessionError('This browser cannot play HTTP-FLV: it lacks Media Source Extensions.')
  }
  mpegts.LoggingControl.enableAll = false
  const url = new URL(`/${path.split('/').map(encodeURIComponent).join('/')}.flv`, location.href).href
  const player = mpegts.createPlayer(
    { type: 'flv', isLive: true, url },
    {
      enableStashBuffer: false,
      autoCleanupSourceBuffer: true,
      liveBufferLatencyChasing: true,
      liveBufferLatencyMaxLatency: 2,
      liveBufferLatencyMinRemain: 0.5,
    },
  )
  let speed: number | undefined
  let codec: string | undefined
  player.on(mpegts.Events.STATISTICS_INFO, (info: { readonly speed?: number }) => {
    speed = info.speed
  })
  player.on(
    mpegts.Events.MEDIA_INFO,
    (info: { readonly videoCodec?: string; readonly audioCodec?: string }) => {
      codec = codecNames([info.videoCodec ?? [], info.audioCodec ?? []].flat())
    },
  )
  const end = async (): Promise<void> => {
    player.destroy()
    video.removeAttribute('src')
  }
  try {
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new SessionError('Stopped.')))
      player.on(mpegts.Events.MEDIA_INFO, () => resolve())
      player.on(mpegts.Events.LOADING_COMPLETE, () => reject(new SessionError('The stream ended.')))
      player.on(mpegts.Events.ERROR, (_type: string, detail: string, info?: { readonly code?: number }) => {
        reject(new SessionError(describe(detail, info?.code)))
      })
      player.attachMediaElement(video)
      player.load()
      // The media element says what it thinks of autoplay; the person can press play.
      void Promise.resolve(player.play()).catch(() => undefined)
    })
  } catch (error) {
    await end()
    throw error
  }
  player.on(mpegts.Events.LOADING_COMPLETE, () => onEnded('The stream ended.'))
  player.on(mpegts.Events.ERROR, (_type: string, detail: string) => onEnded(describe(detail)))
  return {
    stats: async () =>
      defined({
        frames: video.getVideoPlaybackQuality().totalVideoFrames,
        width: video.videoWidth || undefined,
        height: video.videoHeight || undefined,
        // mpegts.js counts in KiB a second.
        bitsPerSecond: speed === undefined ? undefined : speed * 8192,
        codec,
      }),
    end,
  }
}

function describe(detail: string, status?: number): string {
  if (status === 404) return 'No such live stream in this form. Is it published, and by RTMP?'
  if (status !== undefined && status >= 400) return `The gateway refused: ${status}`
  return `The stream cannot be played: ${detail}`
}
