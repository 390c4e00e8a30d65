import { SessionDescription } from '../../../protocols/sdp/index.ts'
import { clientError } from './errors.ts'

/** An offer of SRS's older API (`/rtc/v1/publish/`, `/rtc/v1/play/`): an SDP within JSON. */
export interface JsonOffer {
  readonly description: SessionDescription
  /** Where the client says the stream is; absent when the query of the request says it. */
  readonly streamUrl: StreamUrl | undefined
  /** The texts, numbers and truths that the client sent, for the origin. */
  readonly members: Readonly<Record<string, unknown>>
}

/** `webrtc://host[:port]/app/stream?query`, taken apart. */
export interface StreamUrl {
  /** With its port; empty when the URL has none. */
  readonly host: string
  /** Begins with a slash; percent-encoded as it came. */
  readonly path: string
  /** Without its `?`. */
  readonly query: string
}

/** What an origin answers to an offer in JSON. */
export type JsonAnswer =
  | {
      readonly code: 0
      readonly description: SessionDescription
      /** The members beside `sdp` that clients are told. */
      readonly members: Readonly<Record<string, string>>
    }
  | { readonly code: number; readonly description: undefined }

/** Reads an offer. @throws WEBRTC_BAD_JSON, WEBRTC_BAD_SDP */
export function readJsonOffer(body: Buffer, maxBytes: number): JsonOffer {
  const members = objectOf(body)
  if (members === undefined) throw clientError('WEBRTC_BAD_JSON', 400, 'the body is no JSON object')
  const { sdp, streamurl } = members
  const description =
    typeof sdp === 'string' ? SessionDescription.parse(Buffer.from(sdp), { maxBytes }) : 'not-sdp'
  if (typeof description === 'string') throw clientError('WEBRTC_BAD_SDP', 400, '"sdp" is no SDP offer')
  const streamUrl = typeof streamurl === 'string' ? parseStreamUrl(streamurl) : undefined
  if (streamUrl === undefined && streamurl !== undefined && streamurl !== '') {
    throw clientError('WEBRTC_BAD_JSON', 400, '"streamurl" is no webrtc://host/app/stream')
  }
  // SRS knows no others. What is nested could be so deep that it cannot be written again.
  const plain = Object.entries(members).filter(([, value]) => typeof value !== 'object')
  return { description, streamUrl, members: Object.fromEntries(plain) }
}

/**
 * The offer for an origin of the same API. Who the client is, is said in place of what it says itself.
 *
 * @param streamUrl that of the stream key: the origin must not serve another stream
 */
export function jsonOfferBytes(
  { members }: JsonOffer,
  description: SessionDescription,
  { host, path, query }: StreamUrl,
  clientAddress: string,
): Buffer {
  // SRS takes what stands behind the last slash for the stream, be it in the query.
  const streamurl = `webrtc://${host}${path}${query === '' ? '' : `?${query.replaceAll('/', '%2F')}`}`
  const sdp = description.toBytes().toString()
  return Buffer.from(JSON.stringify({ ...members, streamurl, clientip: clientAddress, sdp }))
}

/** Reads an origin's answer; undefined for what is none. */
export function readJsonAnswer(body: Buffer, maxBytes: number): JsonAnswer | undefined {
  const members = objectOf(body)
  const { code, sdp } = members ?? {}
  if (members === undefined || typeof code !== 'number' || !Number.isSafeInteger(code)) return undefined
  if (code !== 0) return { code, description: undefined }
  if (typeof sdp !== 'string') return undefined
  const description = SessionDescription.parse(Buffer.from(sdp), { maxBytes })
  if (typeof description === 'string') return undefined
  const told = (['server', 'service', 'pid', 'sessionid'] as const).flatMap((name) => {
    const value = members[name]
    return typeof value === 'string' || typeof value === 'number' ? [[name, String(value)] as const] : []
  })
  return { code, description, members: Object.fromEntries(told) }
}

/** The answer for a client. */
export function jsonAnswerBytes(members: Readonly<Record<string, string>>, sdp: Buffer): Buffer {
  return Buffer.from(JSON.stringify({ code: 0, ...members, sdp: sdp.toString() }))
}

function objectOf(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString())
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function parseStreamUrl(text: string): StreamUrl | undefined {
  // Spaces and control characters an origin might take for the end of the URL.
  if (/[^!-~\u0080-\uffff]/.test(text)) return undefined
  const ascii = text.replaceAll(/[\u0080-\uffff]+/g, percentEncoded)
  const match = /^[a-z][a-z\d+.-]*:\/\/(?:[^/?#@]*@)?([^/?#@]*)(\/[^?#]*)(?:\?([^#]*))?/i.exec(ascii)
  if (match === null) return undefined
  return { host: match[1] ?? '', path: match[2] ?? '', query: match[3] ?? '' }
}

function percentEncoded(text: string): string {
  return Buffer.from(text).toString('hex').replaceAll(/../g, '%$&').toUpperCase()
}
