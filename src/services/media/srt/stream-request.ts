import { streamKeyParts, type Role, type StreamKey } from '../../../mechanisms/balancer/index.ts'
import {
  type Handshake,
  parseStreamId,
  type StreamId,
  streamIdOf,
  writeStreamId,
} from '../../../protocols/srt/index.ts'
import { SrtError } from './errors.ts'
import type { CompleteSrtOptions } from './options.ts'

/** What a caller wants, read from its stream id. */
export interface StreamRequest {
  readonly key: StreamKey
  readonly role: Role
  /** Of the resource and of all keys but host, resource and mode; without `?`. */
  readonly query: string
  /** Of the resource alone: what goes to origins that are asked by a URL of their own. */
  readonly resourceQuery: string
  readonly bearer: string | undefined
  /** `srt://host/app`, as hooks of SRS see it. */
  readonly tcUrl: string
  /**
   * The stream id for origins that read it as the gateway does. The caller's own where it has keys; what else it may be
   * written as is no SRS server's to know, and the role of a plain one is the gateway's to say.
   * Undefined when it cannot be written so.
   */
  readonly streamId: string | undefined
}

/** Reads what a conclusion asks for. @throws SRT_BAD_STREAM_ID, SRT_NO_STREAM_ID, and what `streamKeyOf` throws */
export function streamRequestOf(
  conclusion: Handshake,
  {
    defaultStreamId,
    plainRole,
    plainApp,
    streamKeyOf,
  }: Pick<CompleteSrtOptions, 'defaultStreamId' | 'plainRole' | 'plainApp' | 'streamKeyOf'>,
): StreamRequest {
  const sent = streamIdOf(conclusion)
  if (typeof sent === 'string') throw new SrtError('SRT_BAD_STREAM_ID', `stream id: ${sent}`)
  const text = sent.text || defaultStreamId
  if (text === '') throw new SrtError('SRT_NO_STREAM_ID', 'no stream id, and there is no default')
  const parsed = parseStreamId(text)
  if (typeof parsed === 'string') throw new SrtError('SRT_BAD_STREAM_ID', `stream id: ${parsed}`)
  const id = withApp(parsed, plainApp)
  const { host, path, form } = id
  const role = id.role ?? (form === 'plain' ? plainRole : 'play')
  const resource = id.query === '' ? path : `${path}?${id.query}`
  const key = streamKeyOf({ host, resource })
  const { vhost, app } = streamKeyParts(key)
  return {
    key,
    role,
    query: fullQuery(id),
    resourceQuery: id.query,
    bearer: bearerOf(id),
    tcUrl: `srt://${host ?? vhost}/${app}`,
    streamId: form === 'keys' ? text : writeStreamId(id, role),
  }
}

/** SRS proxies give a resource of one part a key of its own, so one that is named by `r` stays as it is. */
function withApp(id: StreamId, app: string): StreamId {
  if (id.form === 'keys' || app === '' || id.path.includes('/')) return id
  return { ...id, path: `${app}/${id.path}` }
}

function fullQuery({ query, others }: StreamId): string {
  const more = others.map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
  return [...(query === '' ? [] : [query]), ...more].join('&')
}

function bearerOf({ others }: StreamId): string | undefined {
  return others.find(([key]) => key === 'token')?.[1] ?? others.find(([key]) => key === 'key')?.[1]
}
