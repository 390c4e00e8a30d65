/** What carries a session's bytes. */
export interface YamuxCarrier {
  /**
   * As `ByteStream.write`: false means that the memory is kept, and that nothing more should come, until the session's `drained`
   * is called; never within the call itself.
   */
  write(bytes: Uint8Array): boolean
}
