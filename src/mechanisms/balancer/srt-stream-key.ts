import type { KeyRules, StreamKey } from './stream-key.ts'
import { streamKeyOfRtmp } from './stream-key.ts'

/**
 * The stream key of an SRT stream id: its host (`h`), undefined where it names none, and its resource (`r`), which may
 * carry a query. The SRS proxy makes the URL `srt://{h or localhost}/{r}` of them. @throws BALANCER_BAD_STREAM_KEY
 */
export function streamKeyOfSrt(host: string | undefined, resource: string, rules: KeyRules): StreamKey {
  const url = `srt://${host ?? (rules.keys === 'srs' ? 'localhost' : '')}`
  const query = resource.indexOf('?')
  const slash = resource.slice(0, query < 0 ? undefined : query).lastIndexOf('/')
  if (slash < 0) return streamKeyOfRtmp(url, resource, rules)
  return streamKeyOfRtmp(`${url}/${resource.slice(0, slash)}`, resource.slice(slash + 1), rules)
}
