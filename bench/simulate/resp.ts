/** One command as Redis reads it. */
export function encodeCommand(parts: readonly (string | number)[]): Buffer {
  const texts = parts.map(String)
  const bulk = texts.map((text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`)
  return Buffer.from(`*${texts.length}\r\n${bulk.join('')}`)
}

/** Counts whole answers in what a Redis sends, however it is cut. Errors are kept: the first one says what is wrong. */
export class ReplyCounter {
  firstError: string | undefined
  #rest: Buffer = Buffer.alloc(0)

  /** How many answers ended in this chunk. */
  take(chunk: Buffer): number {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    let count = 0
    for (;;) {
      const end = this.#endOfReply(bytes, at)
      if (end === undefined) break
      at = end
      count++
    }
    this.#rest = Buffer.from(bytes.subarray(at))
    return count
  }

  #endOfReply(bytes: Buffer, start: number): number | undefined {
    let at = start
    let left = 1
    while (left > 0) {
      const lineEnd = bytes.indexOf(13, at)
      if (lineEnd < 0 || lineEnd + 2 > bytes.length) return undefined
      const kind = bytes[at]
      left--
      if (kind === 36 || kind === 42) {
        const length = Number(bytes.toString('latin1', at + 1, lineEnd))
        at = lineEnd + 2
        if (kind === 42) left += Math.max(0, length)
        else if (length >= 0) at += length + 2
        if (at > bytes.length) return undefined
      } else {
        if (kind === 45) this.firstError ??= bytes.toString('utf8', at + 1, lineEnd)
        at = lineEnd + 2
      }
    }
    return at
  }
}
