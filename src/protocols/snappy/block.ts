/**
 * A snappy block: the length of the plain bytes as a varint, then literals and copies of what came before. By hand, because
 * `snappyjs` runs for ever on a literal whose length of four bytes is negative as a signed number, and leaves zeros where a
 * block ends early.
 *
 * @returns `undefined` for a block that is damaged, or above `mostBytes` of plain bytes
 */
export function decodeBlock(block: Uint8Array, mostBytes: number): Buffer | undefined {
  const header = readPlainLength(block)
  if (header === undefined || header.plainBytes > mostBytes) return undefined
  const plain = Buffer.allocUnsafe(header.plainBytes)
  return fill(plain, block, header.headerBytes) ? plain : undefined
}

function readPlainLength(block: Uint8Array): { plainBytes: number; headerBytes: number } | undefined {
  let plainBytes = 0
  // Five bytes hold 32 bits.
  for (let at = 0; at < 5; at++) {
    const byte = block[at]
    if (byte === undefined) return undefined
    plainBytes += (byte & 0x7f) * 2 ** (7 * at)
    if (byte < 0x80) return { plainBytes, headerBytes: at + 1 }
  }
  return undefined
}

/** True when the block fills the plain bytes exactly; nothing is written or read outside of either. */
function fill(plain: Uint8Array, block: Uint8Array, from: number): boolean {
  let at = from
  let to = 0
  while (at < block.length) {
    const tag = block[at++] ?? 0
    let length = (tag >>> 2) + 1
    let offset = 0
    // Bytes behind the end read as zero here; a copy then has the offset zero or a wrong one, and `at` is checked below.
    switch (tag & 3) {
      case 0:
        if (length > 60) {
          const lengthBytes = length - 60
          length = littleEndian(block, at, lengthBytes) + 1
          at += lengthBytes
        }
        if (length > block.length - at || length > plain.length - to) return false
        copyLiteral(plain, to, block, at, length)
        at += length
        to += length
        continue
      case 1:
        length = ((tag >>> 2) & 7) + 4
        offset = ((tag & 0xe0) << 3) | (block[at++] ?? 0)
        break
      case 2:
        offset = (block[at] ?? 0) | ((block[at + 1] ?? 0) << 8)
        at += 2
        break
      default:
        offset = littleEndian(block, at, 4)
        at += 4
    }
    if (at > block.length || offset === 0 || offset > to || length > plain.length - to) return false
    // Byte by byte: a copy may overlap what it writes, and its bytes then repeat.
    for (const end = to + length; to < end; to++) plain[to] = plain[to - offset] ?? 0
  }
  return to === plain.length
}

/** Never negative, unlike what shifts make of four bytes. */
function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0
  for (let i = count - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0)
  return value
}

function copyLiteral(plain: Uint8Array, to: number, block: Uint8Array, at: number, length: number): void {
  // A view costs as much as some 60 bytes one by one.
  if (length > 64) plain.set(block.subarray(at, at + length), to)
  else for (let i = 0; i < length; i++) plain[to + i] = block[at + i] ?? 0
}
