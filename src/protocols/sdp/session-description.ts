/** One line: its text and how it ended (`\r\n`, `\n`, `\r`, or nothing at the end of the text). */
export interface SdpLine {
  readonly text: string
  readonly ending: string
}

/** Why bytes are not taken as SDP: too many of them, too many lines, or no `v=0` at the beginning. */
export type SdpFault = 'too-long' | 'too-many-lines' | 'not-sdp'

export interface SdpLimits {
  /** Largest description that is read, in bytes. @defaultValue 262144 */
  readonly maxBytes?: number
  /** Most lines that are read. @defaultValue 8192 */
  readonly maxLines?: number
  /**
   * Takes a fragment too, which has no `v=` line (`application/trickle-ice-sdpfrag`, RFC 8840).
   * @defaultValue false
   */
  readonly fragment?: boolean
}

const defaults: Required<SdpLimits> = { maxBytes: 262_144, maxLines: 8192, fragment: false }

/**
 * A session description (RFC 8866) as lines. What nobody changes comes out byte for byte as it came in,
 * bytes that are no UTF-8 included: lines are held as Latin-1, in which every byte is one character.
 */
export class SessionDescription {
  readonly lines: readonly SdpLine[]

  constructor(lines: readonly SdpLine[]) {
    this.lines = lines
  }

  /** Never throws: what is no SDP gives a reason. */
  static parse(bytes: Uint8Array, limits: SdpLimits = {}): SessionDescription | SdpFault {
    const { maxBytes, maxLines, fragment } = { ...defaults, ...limits }
    if (bytes.length > maxBytes) return 'too-long'
    const lines = splitLines(
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1'),
      maxLines,
    )
    if (lines === undefined) return 'too-many-lines'
    return fragment || lines[0]?.text === 'v=0' ? new SessionDescription(lines) : 'not-sdp'
  }

  toBytes(): Buffer {
    return Buffer.from(this.lines.map(({ text, ending }) => text + ending).join(''), 'latin1')
  }

  /** The lines before the first `m=`, then each media section beginning with its `m=` line. */
  sections(): readonly (readonly SdpLine[])[] {
    const sections: SdpLine[][] = [[]]
    for (const line of this.lines) {
      if (line.text.startsWith('m=')) sections.push([])
      sections.at(-1)?.push(line)
    }
    return sections
  }
}

/** The value of an attribute line `a=name:value`, without surrounding spaces; `undefined` for any other line. */
export function attributeValue(line: SdpLine, name: string): string | undefined {
  const prefix = `a=${name}:`
  return line.text.startsWith(prefix) ? line.text.slice(prefix.length).trim() : undefined
}

function splitLines(text: string, maxLines: number): SdpLine[] | undefined {
  const lines: SdpLine[] = []
  let from = 0
  while (from < text.length) {
    if (lines.length === maxLines) return undefined
    // A lone CR ends a line for some parsers; taken as one here too, nothing can hide behind it.
    let to = from
    while (to < text.length && text[to] !== '\n' && text[to] !== '\r') to++
    const ending = text[to] === '\r' && text[to + 1] === '\n' ? '\r\n' : (text[to] ?? '')
    lines.push({ text: text.slice(from, to), ending })
    from = to + ending.length
  }
  return lines
}
