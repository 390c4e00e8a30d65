/** frp's messages and wire protocols, v1 and v2: bytes in, meaning out, and back. */
export type * from './messages.ts'
