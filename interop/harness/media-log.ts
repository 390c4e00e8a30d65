import { FlvReader, FlvTagType } from '../../src/protocols/flv/index.ts'
import { Program } from './program.ts'

/** Plays an address with ffprobe and notes the packets that arrive. */
export class PacketLog implements AsyncDisposable {
  readonly #player: Program

  constructor(url: string) {
    this.#player = new Program('ffprobe', [
      ...['-hide_banner', '-loglevel', 'error', '-show_entries', 'packet=stream_index,dts'],
      ...['-of', 'csv=print_section=0', url],
    ])
  }

  get isRunning(): boolean {
    return this.#player.isRunning
  }

  /** Decoding times of the packets of one stream, in the order in which they came. */
  times(stream: number): readonly number[] {
    return this.#player.output
      .split('\n')
      .filter((line) => /^\d+,\d+$/.test(line))
      .map((line) => line.split(',').map(Number))
      .flatMap(([of, dts = 0]) => (of === stream ? [dts] : []))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#player.stop()
  }
}

/** Plays HTTP-FLV, one request, and notes the tags with media of its body. */
export class FlvLog implements AsyncDisposable {
  /** Times of the tags, in the order in which they came. */
  readonly times: number[] = []
  readonly #abort = new AbortController()
  readonly #over: Promise<unknown>

  constructor(url: string) {
    // Why it ended shows in what has arrived.
    this.#over = this.#play(url).catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort()
    await this.#over
  }

  async #play(url: string): Promise<void> {
    const { body } = await fetch(url, { signal: this.#abort.signal })
    const reader = new FlvReader()
    for await (const bytes of body ?? []) {
      reader.push(bytes)
      for (let tag = reader.next(); tag; tag = reader.next()) {
        // Metadata of the whole stream has the time 0 also in its midst.
        if (tag.type !== FlvTagType.script) this.times.push(tag.timestamp)
      }
    }
  }
}
