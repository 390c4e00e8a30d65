/**
 * The part of HTTP/1.1 (RFC 9112) that a gateway reads by itself: the head of an origin's response and the
 * chunked framing of its body, so that the body's bytes can be passed on without being taken apart. Requests of
 * clients are read by node:http.
 *
 * @module
 */
export { ChunkedBody, type ChunkedData, type ChunkedProgress } from './chunked-body.ts'
export { hopByHopHeaders } from './hop-by-hop.ts'
export {
  type BodyFraming,
  type HeaderField,
  type HeadProgress,
  isFieldName,
  isFieldValue,
  type ResponseHead,
  ResponseHeadParser,
  type ResponseHeadOptions,
} from './response-head.ts'
