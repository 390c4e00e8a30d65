import type { Browser, Page } from 'playwright-core'
import { openBlankPage } from './browser.ts'
import { publishByRtmp } from './ffmpeg.ts'
import type { GatewayFleet } from './fleet.ts'
import { PersistentViewer } from './persistent-viewer.ts'
import { until } from './until.ts'
import { connectionState, playByWhep, publishByWhip, receivedBy, type Signalled } from './webrtc-page.ts'

/** Names of the streams: by RTMP and HTTP-FLV, and by WebRTC. */
export const RUNNING = { live: 'live/running', face: 'live/face' } as const

/** For what a slow machine may be slow at. */
const deadline = { deadlineMs: 40_000 }

interface Peer {
  readonly page: Page
  readonly signalled: Signalled
}

/**
 * Media through three gateways: a publisher by RTMP at the first one, a viewer by HTTP-FLV at each; a page that publishes and
 * one that plays by WebRTC, which the first one answered and whose media goes through the second.
 */
export class RunningMedia implements AsyncDisposable {
  readonly #opened: AsyncDisposable[] = []
  readonly #viewers: PersistentViewer[] = []
  #camera: Peer | undefined
  #screen: Peer | undefined

  /** Resolves when all of it runs. */
  static async start(fleet: GatewayFleet, browser: Browser, sample: string): Promise<RunningMedia> {
    const media = new RunningMedia()
    try {
      await media.#start(fleet, browser, sample)
    } catch (error) {
      await media[Symbol.asyncDispose]()
      throw error
    }
    return media
  }

  /** The USERNAMEs of the WebRTC sessions. */
  async usernames(): Promise<readonly string[]> {
    return await Promise.all([this.#camera, this.#screen].map((peer) => usernameOf(peer)))
  }

  /** Longest gaps count from now on. */
  mark(): void {
    for (const viewer of this.#viewers) viewer.forgetGaps()
  }

  /** Resolves when so many seconds more of each medium have come. */
  async untilMore(seconds: number): Promise<void> {
    const tags = this.#viewers.map((viewer) => viewer.tags)
    const { framesDecoded, audioPackets } = await this.#received()
    await until(
      `${seconds} s more of all media`,
      async () => {
        const now = await this.#received()
        // Of 63 tags, 15 pictures and 50 packets with sound in a second.
        return (
          this.#viewers.every((viewer, index) => viewer.tags > (tags[index] ?? 0) + 50 * seconds) &&
          now.framesDecoded > framesDecoded + 5 * seconds &&
          now.audioPackets > audioPackets + 40 * seconds
        )
      },
      { deadlineMs: deadline.deadlineMs + seconds * 1000 },
    )
  }

  /** What went wrong since `mark`; empty if nothing. */
  async faults(longestGapMs: number): Promise<readonly string[]> {
    const states = await Promise.all(
      [this.#camera, this.#screen].map(async (peer) => peer && (await connectionState(peer.page))),
    )
    return [
      ...this.#viewers.flatMap(({ cuts }, index) => (cuts > 0 ? [`viewer ${index} was cut`] : [])),
      ...this.#viewers.flatMap((viewer, index) =>
        viewer.longestGapMs > longestGapMs
          ? [`viewer ${index} had nothing for ${viewer.longestGapMs} ms`]
          : [],
      ),
      ...states.flatMap((state) => (state === 'connected' ? [] : [`WebRTC is ${state}`])),
    ]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const thing of this.#opened.splice(0).toReversed()) await thing[Symbol.asyncDispose]()
  }

  async #start(fleet: GatewayFleet, browser: Browser, sample: string): Promise<void> {
    const [first, second] = fleet.gateways
    if (first === undefined || second === undefined) throw new Error('too few gateways')
    this.#opened.push(publishByRtmp(sample, `${first.rtmpUrl}/${RUNNING.live}`))
    for (const { url } of fleet.gateways) {
      const viewer = new PersistentViewer(`${url}/${RUNNING.live}.flv`)
      this.#viewers.push(viewer)
      this.#opened.push(viewer)
    }
    fleet.media.leadTo(second.ports.webrtc)
    const peer = async (signal: typeof publishByWhip, url: string): Promise<Peer> => {
      const opened = await openBlankPage(browser)
      this.#opened.push(opened)
      const signalled = await signal(opened.page, url)
      if (signalled.status !== 201)
        throw new Error(`${url} answered ${signalled.status}: ${signalled.answer}`)
      return { page: opened.page, signalled }
    }
    this.#camera = await peer(publishByWhip, `${first.url}/${RUNNING.face}/whip`)
    this.#screen = await peer(playByWhep, `${first.url}/${RUNNING.face}/whep`)
    await this.untilMore(1)
  }

  async #received(): ReturnType<typeof receivedBy> {
    if (this.#screen === undefined) throw new Error('nothing is played')
    return await receivedBy(this.#screen.page)
  }
}

/** `answer-ufrag:offer-ufrag`, as the requests of a page carry it. */
async function usernameOf(peer: Peer | undefined): Promise<string> {
  const offer = await peer?.page.evaluate(
    () => (window as Window & { peer?: RTCPeerConnection }).peer?.localDescription?.sdp,
  )
  const ufrag = (sdp = ''): string => /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1] ?? ''
  return `${ufrag(peer?.signalled.answer)}:${ufrag(offer)}`
}
