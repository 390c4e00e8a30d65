/**
 * FLV, the container of HTTP-FLV: tags to and from bytes, what each tag means to a late viewer, and the way
 * between tags and RTMP messages, which carry the same payloads.
 */
export { FlvError, type FlvErrorCode } from './errors.ts'
export { classifyMedia, type MediaClass, type MediaKind, withoutSetDataFrame } from './media-class.ts'
export { FlvReader, type FlvReaderOptions } from './reader.ts'
export { flvTagOf, messageOf } from './rtmp-tag.ts'
export { encodeFlvHeader, encodeFlvTag, type FlvTag, FlvTagType } from './tag.ts'
