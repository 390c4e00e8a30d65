import type { Page } from 'playwright-core'

/** What the gateway answered to an offer. */
export interface Signalled {
  readonly status: number
  /** Absolute, where the answer had a Location. */
  readonly location: string | undefined
  readonly answer: string
}

/** What a page sees of its media. */
export interface Received {
  readonly framesDecoded: number
  readonly audioPackets: number
  /** The far end's address and port, as ICE chose it; empty before it did. */
  readonly remote: string
  /** The UDP ports that the page has opened itself. (The chosen local candidate shows what the far end sees instead.) */
  readonly ownPorts: readonly number[]
}

interface PeerWindow extends Window {
  peer?: RTCPeerConnection
}

/** Publishes the camera and microphone of the page by WHIP: plain browser code, no library. */
export async function publishByWhip(page: Page, url: string): Promise<Signalled> {
  return await signal(page, url, 'publish')
}

/** Plays a stream by WHEP in the page, in a `video` element so that frames are decoded. */
export async function playByWhep(page: Page, url: string): Promise<Signalled> {
  return await signal(page, url, 'play')
}

async function signal(page: Page, url: string, role: 'publish' | 'play'): Promise<Signalled> {
  // All of this runs in the page and can reach nothing outside of the function.
  return await page.evaluate(
    async (task) => {
      const peer = new RTCPeerConnection({ iceServers: [] })
      ;(window as PeerWindow).peer = peer
      if (task.role === 'publish') {
        const wanted = { video: { width: 320, height: 240, frameRate: 15 }, audio: true }
        const media = await navigator.mediaDevices.getUserMedia(wanted)
        for (const track of media.getTracks()) peer.addTransceiver(track, { direction: 'sendonly' })
      } else {
        for (const kind of ['video', 'audio']) peer.addTransceiver(kind, { direction: 'recvonly' })
        const video = document.createElement('video')
        const media = new MediaStream()
        Object.assign(video, { autoplay: true, muted: true, srcObject: media })
        document.body.append(video)
        peer.addEventListener('track', ({ track }) => media.addTrack(track))
      }
      const gathered = new Promise<void>((resolve) => {
        peer.addEventListener('icegatheringstatechange', () => {
          if (peer.iceGatheringState === 'complete') resolve()
        })
      })
      await peer.setLocalDescription()
      await gathered
      const response = await fetch(task.url, {
        method: 'POST',
        headers: { 'content-type': 'application/sdp' },
        body: peer.localDescription?.sdp ?? '',
      })
      const answer = await response.text()
      if (response.ok) await peer.setRemoteDescription({ type: 'answer', sdp: answer })
      const location = response.headers.get('location')
      return {
        status: response.status,
        location: location === null ? undefined : new URL(location, response.url).href,
        answer,
      }
    },
    { url, role },
  )
}

/** The state of the connection in a page that plays or publishes. */
export async function connectionState(page: Page): Promise<RTCPeerConnectionState | undefined> {
  return await page.evaluate(() => (window as PeerWindow).peer?.connectionState)
}

/** What has arrived so far in a page that plays or publishes. */
export async function receivedBy(page: Page): Promise<Received> {
  return await page.evaluate(async () => {
    const stats: Record<string, unknown>[] = []
    const report = await (window as PeerWindow).peer?.getStats()
    report?.forEach((one: Record<string, unknown>) => stats.push(one))
    const byId = (id: unknown) => stats.find((one) => id !== undefined && one['id'] === id)
    const inbound = (kind: string) =>
      stats.find((one) => one['type'] === 'inbound-rtp' && one['kind'] === kind)
    const transport = stats.find((one) => one['type'] === 'transport')
    const pair = byId(transport?.['selectedCandidatePairId'])
    const remote = byId(pair?.['remoteCandidateId'])
    const candidates = (window as PeerWindow).peer?.localDescription?.sdp ?? ''
    return {
      framesDecoded: Number(inbound('video')?.['framesDecoded'] ?? 0),
      audioPackets: Number(inbound('audio')?.['packetsReceived'] ?? 0),
      remote: remote === undefined ? '' : `${String(remote['address'])}:${String(remote['port'])}`,
      ownPorts: [...candidates.matchAll(/ udp \d+ \S+ (\d+) typ host/g)].map((match) => Number(match[1])),
    }
  })
}
