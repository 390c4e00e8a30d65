import { createHash, randomBytes } from 'node:crypto'
import { get, type IncomingMessage } from 'node:http'
import { makeSample, publishByRtmp } from './ffmpeg.ts'
import type { Gateway } from './gateway.ts'
import { openIceClient } from './ice-client.ts'
import type { Program } from './program.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { until } from './until.ts'

/** What went well for those who use a gateway while others misuse it, since they began. */
export interface BystanderCounts {
  /** FLV tags of a stream that is published by RTMP. */
  readonly tags: number
  /** Segments of HLS, each byte for byte what its origin has. */
  readonly segments: number
  /** Datagrams of a WebRTC session that came back from its origin. */
  readonly datagrams: number
}

/** Users of a gateway: an RTMP publisher with a viewer by HTTP-FLV, an HLS viewer, and a WebRTC session. */
export interface Bystanders extends AsyncDisposable {
  readonly counts: BystanderCounts
  /** Waits until each has got on. @throws Error with what went wrong for one of them, at any time so far */
  untilUnharmed(): Promise<void>
}

export interface BystanderPaths {
  /** `app/stream`, to be published and played. */
  readonly live: string
  /** A playlist whose segments hold what `segmentBytes` makes of their number. */
  readonly playlist: string
  readonly webrtc: string
}

/** How much of each must go well until they count as unharmed. */
const STEP: BystanderCounts = { tags: 10, segments: 2, datagrams: 5 }
/** Between two video tags of a sample of 20 pictures per second, and where it begins again. */
const LONGEST_GAP_MS = 250

/** The media of a segment, by its number. */
export function segmentBytes(number: number): Buffer {
  return createHash('sha512').update(String(number)).digest()
}

/** Starts them. Resolves when all get on. */
export async function startBystanders(gateway: Gateway, paths: BystanderPaths): Promise<Bystanders> {
  const folder = temporaryFolder()
  const sample = `${folder.path}/sample.flv`
  await makeSample(sample, 5)
  const faults: string[] = []
  const counts = { tags: 0, segments: 0, datagrams: 0 }
  const ending = new AbortController()
  const publisher: Program = publishByRtmp(sample, `${gateway.rtmpUrl}/${paths.live}`)
  void publisher.ended.then(() => {
    if (!ending.signal.aborted) faults.push(`the publisher ended: ${publisher.output}`)
  })
  const viewer = await until('a viewer', () => openFlv(`${gateway.url}/${paths.live}.flv`), {
    deadlineMs: 20_000,
  })
  const tags = new FlvTags((fault) => faults.push(fault))
  viewer.on('data', (bytes: Buffer) => {
    counts.tags += tags.read(bytes)
  })
  viewer.on('close', () => {
    if (!ending.signal.aborted) faults.push('the FLV viewer was cut')
  })
  viewer.on('error', () => {})
  const session = await openIceClient(`${gateway.url}/${paths.webrtc}/whep`)
  await session.exchange(session.check())
  const noteFault = (who: string) => (error: unknown) => {
    if (!ending.signal.aborted) faults.push(`${who}: ${String(error)}`)
  }
  const loops = [
    playHls(`${gateway.url}/${paths.playlist}`, counts, ending.signal).catch(noteFault('HLS')),
    exchangeAll(session, counts, ending.signal).catch(noteFault('WebRTC')),
  ]
  const untilUnharmed = async (): Promise<void> => {
    const before = { ...counts }
    await until(
      'all to get on',
      () => {
        if (faults.length > 0) return true
        return (['tags', 'segments', 'datagrams'] as const).every(
          (name) => counts[name] >= before[name] + STEP[name],
        )
      },
      { deadlineMs: 60_000 },
    )
    if (faults.length > 0) throw new Error(faults.join('\n'))
  }
  await untilUnharmed()
  return {
    counts,
    untilUnharmed,
    [Symbol.asyncDispose]: async () => {
      ending.abort()
      viewer.destroy()
      await Promise.all(loops)
      await session[Symbol.asyncDispose]()
      await publisher.stop()
      folder[Symbol.dispose]()
    },
  }
}

/** Undefined until there is something to see. */
async function openFlv(url: string): Promise<IncomingMessage | undefined> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent: false }, resolve).on('error', reject)
  })
  if (response.statusCode === 200) return response
  response.destroy()
  return undefined
}

/** Counts the tags of an FLV stream, and sees whether some are missing. */
class FlvTags {
  readonly #onFault: (fault: string) => void
  #pending: Buffer = Buffer.alloc(0)
  #isBegun = false
  #videoMs: number | undefined

  constructor(onFault: (fault: string) => void) {
    this.#onFault = onFault
  }

  /** How many tags ended in these bytes. */
  read(bytes: Buffer): number {
    this.#pending = Buffer.concat([this.#pending, bytes])
    let count = 0
    let at = 0
    if (!this.#isBegun && this.#pending.length >= 13) {
      this.#isBegun = true
      at = 13
    }
    while (this.#isBegun && this.#pending.length - at >= 15) {
      const length = this.#pending.readUIntBE(at + 1, 3)
      const end = at + 11 + length
      if (this.#pending.length < end + 4) break
      if (this.#pending.readUInt32BE(end) !== 11 + length) this.#onFault('a tag does not end where it says')
      if (this.#pending[at] === 9 && length > 5 && this.#pending[at + 12] === 1) this.#video(at)
      count++
      at = end + 4
    }
    this.#pending = this.#pending.subarray(at)
    return count
  }

  #video(at: number): void {
    const low = this.#pending.readUIntBE(at + 4, 3)
    const timeMs = (this.#pending[at + 7] ?? 0) * 2 ** 24 + low
    const gapMs = timeMs - (this.#videoMs ?? timeMs)
    if (gapMs < 0 || gapMs > LONGEST_GAP_MS) this.#onFault(`video jumps by ${gapMs} ms`)
    this.#videoMs = timeMs
  }
}

/** Plays until the end: each new segment once. @throws Error for what is not as it should be */
async function playHls(url: string, counts: { segments: number }, signal: AbortSignal): Promise<void> {
  let next = -1
  while (!signal.aborted) {
    const playlist = await text(url, signal)
    for (const uri of playlist.split('\n').filter((line) => line !== '' && !line.startsWith('#'))) {
      const number = Number(/-(\d+)\.ts/.exec(uri)?.[1])
      if (number < next) continue
      if (next !== -1 && number > next) throw new Error(`segment ${next} is missing`)
      next = number + 1
      const response = await fetch(new URL(uri, url), { signal })
      const bytes = Buffer.from(await response.arrayBuffer())
      if (response.status !== 200 || !bytes.equals(segmentBytes(number))) {
        throw new Error(`segment ${number}: ${response.status}, ${bytes.length} bytes`)
      }
      counts.segments++
    }
    await pause(100, signal)
  }
}

async function text(url: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(url, { signal })
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
  return await response.text()
}

async function exchangeAll(
  session: { exchange(datagram: Uint8Array): Promise<Buffer>; check(): Buffer },
  counts: { datagrams: number },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const media = Buffer.concat([Buffer.from([0x80, 96]), randomBytes(200)])
    if (!(await session.exchange(media)).equals(media)) throw new Error('another datagram came back')
    await session.exchange(session.check())
    counts.datagrams++
    await pause(50, signal)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
