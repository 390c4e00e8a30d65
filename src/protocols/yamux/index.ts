/**
 * yamux as frp speaks it: many streams of bytes with windows of their own upon one carrier. `YamuxSession` is fed with the
 * carrier's bytes and the time; its streams are `ByteStream`s. `Mux` in mechanisms/streams puts it upon a connection.
 *
 * @module
 */
export type { YamuxCarrier } from './carrier.ts'
export { YamuxError, YamuxErrorCode } from './errors.ts'
export type { YamuxLimits } from './options.ts'
export { YamuxSession, type YamuxSessionParts } from './session.ts'
export type { YamuxStream } from './stream.ts'
