import { join } from 'node:path'
import type Hls from 'hls.js'
import type { Page } from 'playwright-core'
import { repository } from '../harness/repository.ts'
import { until } from '../harness/until.ts'

/** hls.js as pages load it. */
export const hlsScript: string = join(repository, 'node_modules/hls.js/dist/hls.min.js')

/** What a player in a page has come to. */
export interface HlsPlayed {
  /** Seconds of the stream that were shown. */
  readonly position: number
  readonly framesShown: number
  /** Whether it has nothing left to show. */
  readonly isWaiting: boolean
  /** URLs of the fragments that were loaded; of parts, where hls.js loads parts. */
  readonly fragments: readonly string[]
  readonly parts: readonly string[]
  /** How far behind the newest media it wants to be, in seconds. */
  readonly targetLatency: number
  /** Details of errors after which hls.js gives up. */
  readonly fatal: readonly string[]
  /** Details of all errors. */
  readonly errors: readonly string[]
}

interface HlsWindow extends Window {
  Hls?: typeof Hls
  played?: () => HlsPlayed
}

/** Begins to play a playlist in a page that has loaded hls.js, as a live page does: muted, at the live edge. */
export async function playHls(page: Page, url: string): Promise<void> {
  // All of this runs in the page and can reach nothing outside of the function.
  await page.evaluate((playlist) => {
    const { Hls } = window as HlsWindow
    if (Hls === undefined || !Hls.isSupported()) throw new Error('no hls.js, or no Media Source Extensions')
    const video = document.createElement('video')
    Object.assign(video, { autoplay: true, muted: true })
    document.body.append(video)
    const [fragments, parts, fatal, errors]: [string[], string[], string[], string[]] = [[], [], [], []]
    const hls = new Hls({ lowLatencyMode: true })
    hls.on(Hls.Events.FRAG_LOADED, (_event, { frag, part }) => {
      if (part === null) fragments.push(frag.url)
      else parts.push(part.url)
    })
    hls.on(Hls.Events.ERROR, (_event, error) => {
      errors.push(`${error.details} ${error.response?.code ?? ''} ${error.error.message}`)
      if (error.fatal) fatal.push(error.details)
    })
    ;(window as HlsWindow).played = () => ({
      position: video.currentTime,
      isWaiting: video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA,
      framesShown: video.getVideoPlaybackQuality().totalVideoFrames,
      targetLatency: hls.targetLatency ?? Number.NaN,
      ...{ fragments, parts, fatal, errors },
    })
    hls.loadSource(playlist)
    hls.attachMedia(video)
  }, url)
}

export async function playedBy(page: Page): Promise<HlsPlayed> {
  const played = await page.evaluate(() => (window as HlsWindow).played?.())
  if (played === undefined) throw new Error('nothing is played in this page')
  return played
}

/** Waits until a player has shown so many more seconds and a good part of their pictures. @throws Error that says how far it came */
export async function untilPlayed(page: Page, seconds: number): Promise<HlsPlayed> {
  let played = await playedBy(page)
  let begun: HlsPlayed | undefined
  const hasPlayed = async (): Promise<boolean> => {
    played = await playedBy(page)
    if (played.fatal.length > 0) return true
    if (played.framesShown > 0) begun ??= played
    if (begun === undefined) return false
    const { position, framesShown } = begun
    return played.position >= position + seconds && played.framesShown >= framesShown + 5 * seconds
  }
  try {
    await until(`${seconds} s of playback`, hasPlayed, { deadlineMs: 60_000 })
  } catch (cause) {
    throw new Error(`not played: ${JSON.stringify(played)}`, { cause })
  }
  if (played.fatal.length > 0) throw new Error(`given up: ${JSON.stringify(played)}`)
  return played
}
