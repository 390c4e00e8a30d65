import type { IncomingMessage } from 'node:http'
import {
  type HttpStreamRequest,
  isReadAlikeBySrs,
  type Need,
  type OriginTarget,
  percentEncodePart,
  queryParameter,
  type Role,
  type StreamKey,
  streamKeyParts,
} from '../../../mechanisms/balancer/index.ts'
import type { HttpClient } from '../../../mechanisms/net/index.ts'
import {
  iceCredentials,
  type IceCredentials,
  SessionDescription,
  withoutCandidates,
} from '../../../protocols/sdp/index.ts'
import { clientError } from './errors.ts'
import { type JsonOffer, jsonOfferBytes, readJsonOffer, type StreamUrl } from './json-envelope.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import { foreignQuery, originQuery, withQuery } from './origin-query.ts'
import type { EndpointRoute } from './route.ts'

/** A POST, taken apart. */
export interface OfferRequest {
  readonly request: IncomingMessage
  readonly client: HttpClient
  readonly route: EndpointRoute
  /** The path as it came. */
  readonly path: string
  /** Without its `?`. */
  readonly query: string
  readonly body: Buffer
  /** Aborted when the client goes away or the gateway closes. */
  readonly signal: AbortSignal
}

/** Which API of an origin an offer is made to. */
export type OfferNeed = Extract<Need, 'whip' | 'whep' | 'json'>

/** What an offer asks for, in whichever form it came. */
export interface ClientOffer {
  readonly role: Role
  readonly key: StreamKey
  readonly credentials: IceCredentials
  /** Query of the stream's URL, with that of the request. */
  readonly accessQuery: string
  /** `webrtc://host/app`. */
  readonly tcUrl: string
  /** Whether the client asks for candidates over TCP. */
  readonly wantsTcp: boolean
  /** What an origin is asked. */
  message(
    need: OfferNeed,
    target: Pick<OriginTarget, 'name'>,
  ): { readonly target: string; readonly contentType: string; readonly body: Buffer }
}

/** Reads an offer. @throws WEBRTC_BAD_SDP, WEBRTC_BAD_JSON, WEBRTC_NO_ICE_CREDENTIALS, and what `streamKeyOf` throws */
export function readOffer(offer: OfferRequest, options: CompleteWebRtcOptions): ClientOffer {
  const { maxOfferBytes } = options
  if (offer.route.form === 'json') {
    const json = readJsonOffer(offer.body, maxOfferBytes)
    return offerOf(offer, json.description, json, options)
  }
  const description = SessionDescription.parse(offer.body, { maxBytes: maxOfferBytes })
  if (typeof description === 'string') throw clientError('WEBRTC_BAD_SDP', 400, 'the body is no SDP offer')
  return offerOf(offer, description, undefined, options)
}

function offerOf(
  { request, client, route, path, query }: OfferRequest,
  offered: SessionDescription,
  json: JsonOffer | undefined,
  { streamKeyOf, allowIceQuery }: CompleteWebRtcOptions,
): ClientOffer {
  const credentials = iceCredentials(offered)
  if (credentials === undefined) {
    throw clientError('WEBRTC_NO_ICE_CREDENTIALS', 400, 'the offer has no valid ICE credentials')
  }
  const description = withoutCandidates(offered)
  const { host } = request.headers
  const named = json?.streamUrl
  const key = streamKeyOf(named === undefined ? httpName(host, path, query, route) : urlName(named))
  const streamUrl = named ?? streamUrlOf(host, key, query)
  const queries = named === undefined ? [query] : [named.query, query]
  const { app } = streamKeyParts(key)
  const srsQuery = originQuery(query, route.streamPath, allowIceQuery)
  if (json === undefined && !decisive.every((name) => isReadAlikeBySrs(srsQuery, name))) {
    throw clientError('WEBRTC_BAD_QUERY', 400, 'the query can be read as that of another stream')
  }
  const isPlay = route.form === 'sdp' && queryParameter(srsQuery, 'action') === 'play'
  return {
    // SRS's WHIP endpoint plays when it is told so.
    role: isPlay ? 'play' : route.role,
    key,
    credentials,
    accessQuery: queries.filter((one) => one !== '').join('&'),
    tcUrl: `webrtc://${(named?.host || host) ?? ''}/${app}`,
    wantsTcp: queries.some((one) => queryParameter(one, 'transport') === 'tcp'),
    message: (need, { name }) => {
      if (need === 'json' && json !== undefined) {
        const clean = { ...streamUrl, query: originQuery(streamUrl.query, undefined, allowIceQuery) }
        return {
          target: withQuery(name ?? route.originPath, foreignQuery([query], allowIceQuery)),
          contentType: 'application/json',
          body: jsonOfferBytes(json, description, clean, client.address),
        }
      }
      const body = description.toBytes()
      const contentType = 'application/sdp'
      if (name !== undefined) {
        return { target: withQuery(name, foreignQuery(queries, allowIceQuery)), contentType, body }
      }
      return { target: withQuery(route.originPath, srsQuery), contentType, body }
    },
  }
}

/** What SRS decides on by the query: which stream, to publish or to play it, and who may send media. */
const decisive = ['app', 'stream', 'vhost', 'action', 'ice-ufrag', 'ice-pwd'] as const

function httpName(
  host: string | undefined,
  path: string,
  query: string,
  { streamPath }: EndpointRoute,
): HttpStreamRequest {
  return streamPath === undefined
    ? { host, path, query, names: 'query' }
    : { host, path: streamPath, query, names: 'path' }
}

/** The name of a URL counts whether it has a port or not; in a Host header SRS's own keys would look at the port. */
function urlName({ host, path, query }: StreamUrl): HttpStreamRequest {
  return { host: /:\d*$/.test(host) ? host : `${host}:80`, path, query, names: 'path' }
}

/** The stream's URL when only the query of the request names the stream. */
function streamUrlOf(host: string | undefined, key: StreamKey, query: string): StreamUrl {
  const { app, stream } = streamKeyParts(key)
  const path = `/${percentEncodePart(app)}/${percentEncodePart(stream)}`
  const vhost = queryParameter(query, 'vhost')
  return { host: host ?? '', path, query: vhost === undefined ? '' : `vhost=${encodeURIComponent(vhost)}` }
}
