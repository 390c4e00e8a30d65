/** CRC-32C (Castagnoli), which Node's zlib has not, in snappy's masked form. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

/** Eight bytes a step, by eight tables: a fifth of the time of the loop over single bytes. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  let at = 0
  for (const end = bytes.length - 7; at < end; at += 8) {
    const low =
      crc ^
      ((bytes[at] ?? 0) |
        ((bytes[at + 1] ?? 0) << 8) |
        ((bytes[at + 2] ?? 0) << 16) |
        ((bytes[at + 3] ?? 0) << 24))
    crc =
      entry(7, low & 0xff) ^
      entry(6, (low >>> 8) & 0xff) ^
      entry(5, (low >>> 16) & 0xff) ^
      entry(4, low >>> 24) ^
      entry(3, bytes[at + 4] ?? 0) ^
      entry(2, bytes[at + 5] ?? 0) ^
      entry(1, bytes[at + 6] ?? 0) ^
      entry(0, bytes[at + 7] ?? 0)
  }
  for (; at < bytes.length; at++) crc = entry(0, (crc ^ (bytes[at] ?? 0)) & 0xff) ^ (crc >>> 8)
  return ~crc >>> 0
}

const reversedPolynomial = 0x82f63b78

const tables = makeTables()

function makeTables(): Int32Array {
  const all = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ reversedPolynomial : crc >>> 1
    all[byte] = crc
  }
  for (let at = 256; at < all.length; at++) {
    const previous = all[at - 256] ?? 0
    all[at] = (all[previous & 0xff] ?? 0) ^ (previous >>> 8)
  }
  return all
}

/** What `byte` becomes when `zeros` further bytes of zero follow it. */
function entry(zeros: number, byte: number): number {
  return tables[zeros * 256 + byte] ?? 0
}
