/** A copy with the bytes of each 4-byte word reversed; SRT sends texts and addresses so. The length is a multiple of 4. */
export function reverseWords(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes).swap32()
}
