/** Reads a body of at most so many bytes; a longer one rejects. */
export async function readBounded(body: AsyncIterable<unknown>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) continue
    bytes += chunk.length
    if (bytes > maxBytes) throw new TooLongError(maxBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

export class TooLongError extends Error {
  constructor(maxBytes: number) {
    super(`the answer has more than ${maxBytes} bytes`)
  }
}
