import { type StreamKey, streamKeyParts } from '../../../mechanisms/balancer/index.ts'
import { amf0Text, type StreamRequest } from '../../../protocols/rtmp/index.ts'
import type { AccessRequest } from '../access/index.ts'
import { joinQueries, splitQuery } from './stream-query.ts'

/** What speaks for an RTMP client: what it put behind the stream name, and behind the tcUrl. */
export function accessRequest(
  request: StreamRequest,
  key: StreamKey,
  client: Pick<AccessRequest, 'address' | 'sessionId'> & { readonly signal: AbortSignal },
): AccessRequest {
  const [tcUrl, queryOfUrl] = splitQuery(request.tcUrl)
  const [, queryOfName] = splitQuery(request.streamName)
  const { vhost, app } = streamKeyParts(key)
  const pageUrl = amf0Text(request.connect.args[0], 'pageUrl')
  return {
    protocol: 'rtmp',
    role: request.action,
    key,
    query: joinQueries(queryOfName, queryOfUrl),
    // Some clients send only `app`.
    tcUrl: tcUrl === '' ? `rtmp://${vhost}/${app}` : tcUrl,
    ...(pageUrl !== undefined && { pageUrl }),
    ...client,
  }
}
