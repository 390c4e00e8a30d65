/** Byte streams: sockets, sessions of many streams, layers upon streams, and two of them joined. */
export type { ByteSink, ByteStream } from '../../foundation/byte-stream.ts'
