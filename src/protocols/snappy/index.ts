/**
 * Snappy's framing format (https://github.com/google/snappy, framing_format.txt): what frp's `useCompression` puts around the
 * bytes of a work connection.
 *
 * @module
 */
export { SnappyError, type SnappyErrorCode } from './errors.ts'
export { snappyCodec, type SnappyCodec } from './snappy-codec.ts'
