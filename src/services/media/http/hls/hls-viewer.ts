import type { Origin, Hold, StreamKey, Claim } from '../../../../mechanisms/balancer/index.ts'
import type { Admission, BandwidthLimit } from '../../access/index.ts'
import type { HttpErrorCode } from '../errors.ts'

/** A body on its way to a viewer. */
export interface RunningBody {
  readonly bytesOut: number
  cut(code: HttpErrorCode): void
}

export interface HlsViewerOptions {
  readonly id: string
  readonly key: StreamKey
  readonly address: string
  readonly credentials: string
  readonly context: string | undefined
  readonly sinceMs: number
}

/** Somebody who plays a stream, over all requests that belong to it. */
export class HlsViewer {
  readonly id: string
  readonly key: StreamKey
  readonly address: string
  readonly credentials: string
  readonly sinceMs: number
  /** `hls_ctx`: unknown until the first playlist has given one. */
  context: string | undefined
  /** Resolves when it is let in; shared by its first requests. */
  admitted: Promise<void> = Promise.resolve()
  usedMs = 0
  /** Requests without a complete answer. */
  running = 0
  /** An origin gave it something. */
  isServed = false
  isKicked = false
  /** Bytes of playlists, and of bodies that have ended. */
  endedBytes = 0
  readonly bodies: Set<RunningBody> = new Set()
  #admission: Admission | undefined
  #hold: Hold | undefined
  #origin: Origin | undefined
  #isOver = false

  constructor({ id, key, address, credentials, context, sinceMs }: HlsViewerOptions) {
    this.id = id
    this.key = key
    this.address = address
    this.credentials = credentials
    this.context = context
    this.sinceMs = sinceMs
  }

  /** The origin that it is kept at. */
  get origin(): Origin | undefined {
    return this.#origin
  }

  get bytesOut(): number {
    let bytes = this.endedBytes
    for (const body of this.bodies) bytes += body.bytesOut
    return bytes
  }

  get limits(): readonly BandwidthLimit[] {
    return this.#admission?.limits ?? []
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** It was let in. When it is over already, the admission ends at once. */
  letIn(admission: Admission): void {
    if (this.#isOver) admission.end()
    else this.#admission = admission
  }

  /** An origin served it: the first time it is kept there, until it moves or the viewer is over. */
  async keep(claim: Claim): Promise<void> {
    if (this.#origin !== undefined || this.#isOver) return claim.release()
    this.#origin = claim.origin
    try {
      let isMoved = false
      const hold = await claim.keep(() => {
        isMoved = true
        this.letGo()
      })
      if (isMoved || this.#isOver) hold.end()
      else this.#hold = hold
    } catch (error) {
      this.#origin = undefined
      throw error
    }
  }

  /** The next request is led anew. */
  letGo(): void {
    this.#origin = undefined
    this.#hold?.end()
    this.#hold = undefined
  }

  /** Ends what it holds; its bodies are cut. May be called twice. */
  end(code: HttpErrorCode): void {
    if (this.#isOver) return
    this.#isOver = true
    this.letGo()
    this.#admission?.end()
    for (const body of this.bodies) body.cut(code)
  }
}
