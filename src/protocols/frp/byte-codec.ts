/**
 * A layer of a stream: what is written passes `encode`, what is read passes `decode`. Both take bytes cut anywhere, and give
 * what they can at once, in memory that is the caller's from then on; the bytes they were given are not kept.
 */
export interface ByteCodec {
  encode(bytes: Uint8Array): Uint8Array
  /**
   * May be empty, while what came is not enough. After an error the stream cannot be read on.
   *
   * @throws SluiceError
   */
  decode(bytes: Uint8Array): Uint8Array
}
