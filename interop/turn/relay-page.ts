import type { Page } from 'playwright-core'

/** What a page sees of its two peers, which reach each other through relays only. */
export interface RelayCall {
  /** Of the first peer's selected pair. */
  readonly localType: string
  readonly remoteType: string
  /** How the browser speaks to the server: udp, tcp or tls. */
  readonly relayProtocol: string
  /** Candidates that were found, by kind. */
  readonly candidateTypes: readonly string[]
  readonly framesDecoded: number
  /** Messages of the data channel that came back as they were. */
  readonly echoed: number
  /** The size of those together. */
  readonly echoedBytes: number
  /** What went wrong at a server, `701 ...`. */
  readonly errors: readonly string[]
}

interface CallWindow extends Window {
  relayCall?: () => Promise<RelayCall>
}

/** One TURN server as pages name it. */
export interface IceServer {
  readonly urls: string
  readonly username: string
  readonly credential: string
}

/**
 * Starts a call between two peers of one page, both of which may use relays only: the first sends the picture of a canvas that
 * changes, and messages of up to 16 kB over a data channel, which the second sends back. Resolves when the offer and the
 * answer have been exchanged; `relayCall` then says how it goes.
 */
export async function startRelayCall(page: Page, server: IceServer): Promise<void> {
  // All of this runs in the page and can reach nothing outside of the function.
  await page.evaluate(async (iceServer) => {
    const settings: RTCConfiguration = { iceServers: [iceServer], iceTransportPolicy: 'relay' }
    const caller = new RTCPeerConnection(settings)
    const callee = new RTCPeerConnection(settings)
    const errors: string[] = []
    const candidateTypes = new Set<string>()
    for (const [from, to] of [
      [caller, callee],
      [callee, caller],
    ] as const) {
      from.addEventListener('icecandidate', ({ candidate }) => {
        if (candidate === null) return
        candidateTypes.add(candidate.type ?? '')
        void to.addIceCandidate(candidate)
      })
      from.addEventListener('icecandidateerror', ({ errorCode, errorText, url }) => {
        errors.push(`${errorCode} ${errorText} ${url}`)
      })
    }

    const canvas = document.createElement('canvas')
    const drawing = canvas.getContext('2d')
    let drawn = 0
    setInterval(() => {
      if (drawing === null) return
      drawing.fillStyle = `hsl(${(drawn++ * 7) % 360} 80% 50%)`
      drawing.fillRect(0, 0, canvas.width, canvas.height)
    }, 40)
    for (const track of canvas.captureStream(25).getTracks()) caller.addTrack(track)
    const video = document.createElement('video')
    Object.assign(video, { autoplay: true, muted: true })
    document.body.append(video)
    callee.addEventListener('track', ({ track }) => {
      video.srcObject = new MediaStream([track])
    })

    let echoed = 0
    let echoedBytes = 0
    const channel = caller.createDataChannel('echo')
    channel.binaryType = 'arraybuffer'
    const sendNext = () => {
      const message = new Uint8Array((echoed * 997) % 16_384)
      message.fill(echoed % 256)
      channel.send(message)
    }
    channel.addEventListener('open', sendNext)
    channel.addEventListener('message', ({ data }) => {
      const bytes = new Uint8Array(data as ArrayBuffer)
      const isWhole = bytes.length === (echoed * 997) % 16_384 && bytes.every((byte) => byte === echoed % 256)
      if (!isWhole) {
        errors.push(`message ${echoed} came back with ${bytes.length} bytes`)
        return
      }
      echoed++
      echoedBytes += bytes.length
      sendNext()
    })
    callee.addEventListener('datachannel', ({ channel: echo }) => {
      echo.binaryType = 'arraybuffer'
      echo.addEventListener('message', ({ data }) => echo.send(data as ArrayBuffer))
    })

    const statsOf = async (peer: RTCPeerConnection) => {
      const stats: Record<string, unknown>[] = []
      ;(await peer.getStats()).forEach((one: Record<string, unknown>) => stats.push(one))
      return stats
    }
    ;(window as CallWindow).relayCall = async () => {
      const ofCaller = await statsOf(caller)
      const byId = (id: unknown) => ofCaller.find((one) => id !== undefined && one['id'] === id)
      const transport = ofCaller.find((one) => one['type'] === 'transport')
      const pair = byId(transport?.['selectedCandidatePairId'])
      const local = byId(pair?.['localCandidateId'])
      const remote = byId(pair?.['remoteCandidateId'])
      const inbound = (await statsOf(callee)).find((one) => one['type'] === 'inbound-rtp')
      return {
        localType: String(local?.['candidateType']),
        remoteType: String(remote?.['candidateType']),
        relayProtocol: String(local?.['relayProtocol']),
        candidateTypes: [...candidateTypes],
        framesDecoded: Number(inbound?.['framesDecoded'] ?? 0),
        echoed,
        echoedBytes,
        errors,
      }
    }

    await caller.setLocalDescription()
    await callee.setRemoteDescription(caller.localDescription as RTCSessionDescription)
    await callee.setLocalDescription()
    await caller.setRemoteDescription(callee.localDescription as RTCSessionDescription)
  }, server)
}

/** How the call of a page goes. */
export async function relayCall(page: Page): Promise<RelayCall> {
  return await page.evaluate(async () => {
    const call = (window as CallWindow).relayCall
    if (call === undefined) throw new Error('no call was started')
    return await call()
  })
}
